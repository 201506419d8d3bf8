"""Case -> Case on the common grid: centred on the heart, one field of view, one pixel size, intensities in [-1, 1]."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32

from cmrfed.config import PreprocessingConfig, UserError
from cmrfed.shapes import Label, VolumeMask
from cmrfed.volumes import Case

Centre = tuple[float, float]
"""(row, column) in voxels of the stored grid; a whole number is the middle of a voxel."""


def prepare(case: Case, config: PreprocessingConfig) -> Case:
    """Bring a case onto the common grid; only slices that show a labelled structure are kept.

    Returns image (slice, size, size) float32 in [-1, 1], mask of the same shape, and the new in-plane spacing
    field_of_view_mm / size. Slices stay aligned: the whole stack has one centre. Outside the scanned area the image is -1.
    Raises UserError when the mask is empty or the image is constant inside the field of view.
    """
    labelled = case.mask.any(axis=(1, 2))
    if not labelled.any():
        raise UserError(f"{case.patient} {case.phase}: the mask is empty; remove the case or restore its segmentation")
    centre = heart_centre(case.mask)
    unit = _scale_to_unit(case, centre, config)[labelled]
    image = _resample(torch.from_numpy(unit)[:, None], case.spacing_mm, centre, config)[:, 0]
    mask = _resample_mask(case.mask[labelled], case.spacing_mm, centre, config)
    kept = mask.any(axis=(1, 2))  # a tip smaller than a pixel may have gone
    if not kept.any():
        raise UserError(f"{case.patient} {case.phase}: no structure is as large as a pixel; check the segmentation")
    pixel_mm = config.field_of_view_mm / config.size
    return replace(
        case,
        image=(2 * image.numpy() - 1).clip(-1, 1)[kept],
        mask=mask[kept],
        spacing_mm=(case.spacing_mm[0], pixel_mm, pixel_mm),
    )


def heart_centre(mask: VolumeMask) -> Centre:
    """Middle of the box that bounds every structure on every slice, so that a stack is moved as a whole."""
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return float(rows[0] + rows[-1]) / 2, float(columns[0] + columns[-1]) / 2


def _scale_to_unit(case: Case, centre: Centre, config: PreprocessingConfig) -> Float32[np.ndarray, "slice row column"]:
    """Clip to the percentiles found inside the field of view and map to [0, 1].

    The percentiles are those of this volume alone: they reveal nothing of other patients, and the chest wall or air
    outside the field of view, which varies with the scan's planning, has no say.
    """
    inside = case.image[:, *_field_of_view(case, centre, config)]
    low, high = np.percentile(inside, config.percentiles)
    if not high > low:
        raise UserError(
            f"{case.patient} {case.phase}: the image is constant ({low:g}) around the heart; export it again"
        )
    return ((case.image.clip(low, high) - low) / (high - low)).astype(np.float32)


def _field_of_view(case: Case, centre: Centre, config: PreprocessingConfig) -> tuple[slice, slice]:
    """The stored rows and columns inside the field of view."""
    half = [config.field_of_view_mm / spacing / 2 for spacing in case.spacing_mm[1:]]
    rows, columns = (
        slice(max(0, round(middle - reach)), round(middle + reach) + 1)
        for middle, reach in zip(centre, half, strict=True)
    )
    return rows, columns


def _resample_mask(
    mask: VolumeMask, spacing_mm: tuple[float, float, float], centre: Centre, config: PreprocessingConfig
) -> VolumeMask:
    """The label that covers most of each new pixel.

    Labels never blend, and unlike nearest neighbour this does not lose walls thinner than a pixel to chance: contours
    fall where the image, resampled in the same way, shows them.
    """
    one_hot = F.one_hot(torch.from_numpy(mask).long(), len(Label)).movedim(-1, 1).float()
    outside_is_background = one_hot[:, 1:]
    structures = _resample(outside_is_background, spacing_mm, centre, config)
    background = 1 - structures.sum(dim=1, keepdim=True)
    return torch.cat([background, structures], dim=1).argmax(dim=1).numpy().astype(np.uint8)


def _resample(
    stack: Float[torch.Tensor, "slice channel row column"],
    spacing_mm: tuple[float, float, float],
    centre: Centre,
    config: PreprocessingConfig,
) -> Float[torch.Tensor, "slice channel size size"]:
    """Mean of the stack over each new pixel's area, by bilinear samples at least as dense as the stored voxels.

    Averaging is what keeps a coarser grid from aliasing, and is how a scanner's own voxels come about. Outside: 0.
    """
    pixel_mm = config.field_of_view_mm / config.size
    samples = max(1, int(np.ceil(pixel_mm / min(spacing_mm[1:]) - 1e-6)))
    # Grid coordinates run from -1 to 1 between the outer edges of the outer voxels: x = scale * x_new + shift.
    (rows, columns), (_, dy, dx) = stack.shape[2:], spacing_mm
    extent_mm, middle = torch.tensor([columns * dx, rows * dy]), torch.tensor([centre[1] + 0.5, centre[0] + 0.5])
    scale = config.field_of_view_mm / extent_mm
    shift = 2 * middle / torch.tensor([columns, rows]) - 1
    affine = torch.cat([torch.diag(scale), shift[:, None]], dim=1).expand(len(stack), 2, 3)
    dense = (len(stack), stack.shape[1], config.size * samples, config.size * samples)
    grid = F.affine_grid(affine, dense, align_corners=False)
    return F.avg_pool2d(F.grid_sample(stack, grid, align_corners=False), samples)
