"""Case -> Case on the common grid: centred on the heart, one field of view, one pixel size, intensities in [-1, 1]."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, UInt8

from cmrfed.config import PreprocessingConfig, UserError
from cmrfed.shapes import STRUCTURES, Label, Volume, VolumeMask
from cmrfed.volumes import Case

Centre = tuple[float, float]
"""(row, column) in voxels of the stored grid; a whole number is the middle of a voxel."""


def prepare(case: Case, config: PreprocessingConfig) -> Case:
    """Bring a case onto the common grid; only slices that show a labelled structure are kept.

    Returns image (slice, size, size) float32 in [-1, 1], mask of the same shape, and the new in-plane spacing
    field_of_view_mm / size. The whole stack has one centre, so its slices stay aligned. Outside the scan is -1.
    Raises UserError when the mask is empty or the image is constant inside the field of view.
    """
    if not case.mask.any():
        raise UserError(f"{case.patient} {case.phase}: the mask is empty; remove the case or restore its segmentation")
    case, centre = _crop(case, heart_centre(case.mask), config)
    labelled = case.mask.any(axis=(1, 2))
    unit = _scale_to_unit(case, config)[labelled]
    image = _resample(unit, case.spacing_mm, centre, config)
    mask = _resample_mask(case.mask[labelled], case.spacing_mm, centre, config)
    kept = mask.any(axis=(1, 2))  # a tip smaller than a pixel may have gone
    if not kept.any():
        within = f"within {config.field_of_view_mm:g} mm around the heart"
        raise UserError(f"{case.patient} {case.phase}: no structure fills a pixel {within}; check the segmentation")
    pixel_mm = config.field_of_view_mm / config.size
    return replace(
        case,
        image=(2 * image - 1).clip(-1, 1)[kept],
        mask=mask[kept],
        spacing_mm=(case.spacing_mm[0], pixel_mm, pixel_mm),
    )


def heart_centre(mask: VolumeMask) -> Centre:
    """Middle of the box that bounds every structure on every slice, so that a stack is moved as a whole."""
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return float(rows[0] + rows[-1]) / 2, float(columns[0] + columns[-1]) / 2


def _crop(case: Case, centre: Centre, config: PreprocessingConfig) -> tuple[Case, Centre]:
    """Keep the stored voxels inside the field of view and one beyond its edge; the centre moves along."""
    reach = [config.field_of_view_mm / spacing / 2 + 1 for spacing in case.spacing_mm[1:]]
    top, left = (max(0, int(middle - half)) for middle, half in zip(centre, reach, strict=True))
    bottom, right = (int(np.ceil(middle + half)) + 1 for middle, half in zip(centre, reach, strict=True))
    image, mask = (np.ascontiguousarray(array[:, top:bottom, left:right]) for array in (case.image, case.mask))
    return replace(case, image=image, mask=mask), (centre[0] - top, centre[1] - left)


def _scale_to_unit(case: Case, config: PreprocessingConfig) -> Float32[np.ndarray, "slice row column"]:
    """Clip to the percentiles and map to [0, 1].

    The percentiles are those of this one volume, so they carry nothing from patient to patient; and what lies outside
    the field of view, which varies with how the scan was planned, has no say because it is cropped already.
    """
    low, high = (np.float32(value) for value in np.percentile(case.image, config.percentiles))
    if not high > low:
        raise UserError(f"{case.patient} {case.phase}: the image is constant ({low:g}) at the heart; export it again")
    return (case.image.clip(low, high) - low) / (high - low)


def _resample_mask(
    mask: VolumeMask, spacing_mm: tuple[float, float, float], centre: Centre, config: PreprocessingConfig
) -> UInt8[np.ndarray, "slice size size"]:
    """The label that covers most of each new pixel.

    Labels never blend, and unlike nearest neighbour this does not leave walls thinner than a pixel to chance: contours
    fall where the image, resampled in the same way, shows them.
    """
    areas = [_resample((mask == label).astype(np.float32), spacing_mm, centre, config) for label in STRUCTURES]
    background = 1 - np.sum(areas, axis=0)  # all that is outside the scan too
    winner = np.argmax(np.stack([background, *areas]), axis=0)
    return np.array([Label.BACKGROUND, *STRUCTURES], dtype=np.uint8)[winner]


def _resample(
    stack: Volume, spacing_mm: tuple[float, float, float], centre: Centre, config: PreprocessingConfig
) -> Float32[np.ndarray, "slice size size"]:
    """Mean of the stack over each new pixel's area; 0 outside the stack.

    Averaging is what keeps a coarser grid from aliasing, and is how a scanner's own voxels come about.
    """
    _, rows, columns = stack.shape
    down = _weights(rows, spacing_mm[1], centre[0], config)
    across = _weights(columns, spacing_mm[2], centre[1], config)
    return down @ stack @ across.T


def _weights(
    voxels: int, spacing_mm: float, centre: float, config: PreprocessingConfig
) -> Float32[np.ndarray, "size voxels"]:
    """Share of each stored voxel in each new pixel along one axis.

    A new pixel is the mean of linearly interpolated samples, spread evenly over it and no wider apart than the voxels.
    """
    pixel_mm = config.field_of_view_mm / config.size
    samples = max(1, math.ceil(pixel_mm / spacing_mm))
    middle_to_sample_mm = (np.arange(config.size * samples) + 0.5) * pixel_mm / samples - config.field_of_view_mm / 2
    position = centre + middle_to_sample_mm / spacing_mm
    linear = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(voxels)))
    return linear.reshape(config.size, samples, voxels).mean(axis=1).astype(np.float32)
