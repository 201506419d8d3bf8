"""Case -> Case on the common grid: centred on the heart, one field of view, one pixel size, intensities in [-1, 1]."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from cmrfed.config import PreprocessingConfig, UserError
from cmrfed.shapes import STRUCTURES, Label, Volume, VolumeMask
from cmrfed.volumes import Case


def prepare(case: Case, config: PreprocessingConfig) -> Case:
    """Bring a case onto the common grid; only slices that show a labelled structure are kept.

    Returns image (slice, size, size) float32 in [-1, 1], mask of the same shape, and the new in-plane spacing
    field_of_view_mm / size. The whole stack has one centre, so its slices stay aligned. Outside the scan is -1.
    Raises UserError when the mask is empty or the image is constant inside the field of view.
    """
    name = f"{case.patient} {case.phase}"
    grid = _grid_around_heart(case.mask, case.spacing_mm, config, name)
    mask = _resample_mask(case.mask, grid)
    labelled = _labelled_slices(mask, name)
    unit = _scale_to_unit(grid.crop(case.image), config.percentiles, name)
    image = (2 * grid.mean(unit[labelled]) - 1).clip(-1, 1)
    return replace(case, image=image, mask=mask[labelled], spacing_mm=_new_spacing_mm(case.spacing_mm, config))


def prepare_mask(
    mask: VolumeMask, spacing_mm: tuple[float, float, float], config: PreprocessingConfig, name: str
) -> tuple[UInt8[np.ndarray, "labelled size size"], tuple[float, float, float]]:
    """The mask and spacing that `prepare` would give a case with this mask. `name` is what errors call it."""
    prepared = _resample_mask(mask, _grid_around_heart(mask, spacing_mm, config, name))
    return prepared[_labelled_slices(prepared, name)], _new_spacing_mm(spacing_mm, config)


def heart_centre(mask: VolumeMask) -> tuple[float, float]:
    """Middle (row, column) of the box that bounds every structure on every slice, so that a stack moves as a whole.

    In voxels of the stored grid: a whole number is the middle of a voxel.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return float(rows[0] + rows[-1]) / 2, float(columns[0] + columns[-1]) / 2


@dataclass(frozen=True)
class _Grid:
    """The new pixels as shares of stored voxels, `down` along rows and `across` along columns.

    Only `rows` and `columns`, the stored voxels that any pixel draws on, are in the two matrices.
    """

    rows: slice
    columns: slice
    down: Float32[np.ndarray, "size rows"]
    across: Float32[np.ndarray, "size columns"]

    def crop(self, stack: np.ndarray) -> np.ndarray:
        """The stored voxels inside the field of view."""
        return stack[:, self.rows, self.columns]

    def mean(self, cropped: Float32[np.ndarray, "slice rows columns"]) -> Float32[np.ndarray, "slice size size"]:
        """Mean over each new pixel's area; 0 outside the scan.

        Averaging is what keeps a coarser grid from aliasing, and is how a scanner's own voxels come about.
        """
        return self.down @ cropped @ self.across.T


def _grid_around_heart(
    mask: VolumeMask, spacing_mm: tuple[float, float, float], config: PreprocessingConfig, name: str
) -> _Grid:
    if not mask.any():
        raise UserError(f"{name}: the mask is empty; remove the case or restore its segmentation")
    row, column = heart_centre(mask)
    rows, down = _shares(mask.shape[1], spacing_mm[1], row, config)
    columns, across = _shares(mask.shape[2], spacing_mm[2], column, config)
    return _Grid(rows, columns, down, across)


def _shares(
    voxels: int, spacing_mm: float, centre: float, config: PreprocessingConfig
) -> tuple[slice, Float32[np.ndarray, "size used"]]:
    """Share of each stored voxel in each new pixel along one axis, and which stored voxels have one.

    A new pixel is the mean of linearly interpolated samples, spread evenly over it and no wider apart than the voxels.
    """
    pixel_mm = config.field_of_view_mm / config.size
    samples = math.ceil(pixel_mm / spacing_mm)
    from_centre_mm = (np.arange(config.size * samples) + 0.5) * pixel_mm / samples - config.field_of_view_mm / 2
    position = centre + from_centre_mm / spacing_mm
    linear = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(voxels)))
    shares = linear.reshape(config.size, samples, voxels).mean(axis=1).astype(np.float32)
    used = np.flatnonzero(shares.any(axis=0))
    window = slice(int(used[0]), int(used[-1]) + 1)
    return window, shares[:, window]


def _scale_to_unit(
    cropped: Volume, percentiles: tuple[float, float], name: str
) -> Float32[np.ndarray, "slice row column"]:
    """Clip to the percentiles and map to [0, 1].

    The percentiles are those of this one volume, so they carry nothing from patient to patient; and what lies outside
    the field of view, which varies with how the scan was planned, has no say because it is cropped already.
    """
    low, high = (np.float32(value) for value in np.percentile(cropped, percentiles))
    if not high > low:
        raise UserError(f"{name}: the image is constant ({low:g}) around the heart; export it again")
    return (cropped.clip(low, high) - low) / (high - low)


def _resample_mask(mask: VolumeMask, grid: _Grid) -> UInt8[np.ndarray, "slice size size"]:
    """The label that covers most of each new pixel.

    Labels never blend, and unlike nearest neighbour this does not leave walls thinner than a pixel to chance: contours
    fall where the image, resampled in the same way, shows them.
    """
    cropped = grid.crop(mask)
    areas = [grid.mean((cropped == label).astype(np.float32)) for label in STRUCTURES]
    background = 1 - np.sum(areas, axis=0)  # all that is outside the scan too
    winner = np.argmax(np.stack([background, *areas]), axis=0)
    return np.array([Label.BACKGROUND, *STRUCTURES], dtype=np.uint8)[winner]


def _labelled_slices(mask: UInt8[np.ndarray, "slice size size"], name: str) -> Bool[np.ndarray, " slice"]:
    labelled: Bool[np.ndarray, " slice"] = np.any(mask, axis=(1, 2))
    if not labelled.any():
        raise UserError(f"{name}: no structure fills a pixel of the common grid; check the segmentation and spacing")
    return labelled


def _new_spacing_mm(spacing_mm: tuple[float, float, float], config: PreprocessingConfig) -> tuple[float, float, float]:
    pixel_mm = config.field_of_view_mm / config.size
    return spacing_mm[0], pixel_mm, pixel_mm
