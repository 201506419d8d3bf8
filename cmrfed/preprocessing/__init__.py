"""Case -> Case on the common grid: centred on the heart, one field of view, one pixel size, intensities in [-1, 1].

In the order in which a case goes through them: `bias` takes the coils' shading out, `locate` finds the heart, `grid`
resamples, `intensity` scales, `surroundings` labels the tissue around the heart. Each looks at one patient's stack
alone, so that nothing passes from patient to patient.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from cmrfed.conditions import UNLABELLED
from cmrfed.config import PreprocessingConfig, UserError
from cmrfed.preprocessing.bias import without_bias
from cmrfed.preprocessing.grid import Grid
from cmrfed.preprocessing.intensity import to_unit
from cmrfed.preprocessing.locate import centre_of_mask, centre_of_motion
from cmrfed.preprocessing.surroundings import with_tissue_classes
from cmrfed.shapes import STRUCTURES, Volume, VolumeMask
from cmrfed.volumes import Case
from cmrfed.volumetry import measured, slice_levels

__all__ = ["PreparedMask", "centre_of_mask", "centre_of_motion", "prepare", "prepare_mask"]


def prepare(case: Case, config: PreprocessingConfig) -> Case:
    """Bring a case onto the common grid; see `kept_slices` for which of its slices stay.

    Returns image (slice, size, size) float32 in [-1, 1], mask of the same shape, and the new in-plane spacing
    field_of_view_mm / size. The whole stack has one centre, so its slices stay aligned. Outside the scan is -1.
    Raises UserError when the heart cannot be found or the image is constant inside the field of view.
    """
    name = f"{case.patient} {case.phase}"
    image = without_bias(case.image) if config.bias_correction else case.image
    grid = Grid.around(_centre(case, config, name), case.image.shape[1:], case.spacing_mm, config)
    mask = grid.majority(case.mask)
    kept = kept_slices(mask, config, name)
    prepared = _on_grid(image, grid, config, name)[kept]
    source = None if case.source is None else _on_grid(case.source, grid, config, name)[kept]
    labels = with_tissue_classes(prepared, mask[kept], config.tissue_classes)
    spacing_mm = _new_spacing_mm(case.spacing_mm, config)
    conditions = {**measured(mask, spacing_mm, case.phase), "slice_level": slice_levels(mask)[kept], **case.conditions}
    return replace(
        case, image=prepared, mask=labels, spacing_mm=spacing_mm, motion=None, source=source, conditions=conditions
    )


def _on_grid(
    volume: Volume, grid: Grid, config: PreprocessingConfig, name: str
) -> Float32[np.ndarray, "slice size size"]:
    """All slices, scaled by the stack's intensities."""
    return (2 * grid.mean(to_unit(grid.crop(volume), config, name)) - 1).clip(-1, 1)


@dataclass(frozen=True, eq=False)
class PreparedMask:
    """A mask on the common grid, and the way back.

    kept: which of the stack's slices `kept_slices` keeps. masks: these, (kept, size, size). spacing_mm: theirs.
    grid: turns slices of the common grid into slices of the stack.
    """

    kept: Bool[np.ndarray, " slice"]
    masks: UInt8[np.ndarray, "kept size size"]
    spacing_mm: tuple[float, float, float]
    grid: Grid


def prepare_mask(
    mask: VolumeMask, spacing_mm: tuple[float, float, float], config: PreprocessingConfig, name: str
) -> PreparedMask:
    """The mask as `prepare` would give it to a case. `name` is what errors call it.

    A mask alone does not tell the tissue around the heart: where `config.tissue_classes` asks for it, UserError is
    raised.
    """
    if config.tissue_classes:
        raise UserError(
            f"{name}: this generator draws from tissue maps (preprocessing.tissue_classes={config.tissue_classes}), "
            "which a mask alone does not hold; use one trained with tissue_classes=0"
        )
    grid = Grid.around(_centre_of(mask, name), mask.shape[1:], spacing_mm, config)
    prepared = grid.majority(mask)
    kept = kept_slices(prepared, config, name)
    return PreparedMask(kept, prepared[kept], _new_spacing_mm(spacing_mm, config), grid)


def kept_slices(
    mask: UInt8[np.ndarray, "slice size size"], config: PreprocessingConfig, name: str
) -> Bool[np.ndarray, " slice"]:
    """Slices that show a labelled structure, or all of a stack in which nothing is labelled; of these, where
    `central_slices` is set, that many from the middle. Raises UserError when a labelled stack shows no structure.
    """
    shown = np.isin(mask, STRUCTURES).max(axis=(1, 2))
    if (mask == UNLABELLED).any() and not shown.any():
        shown[:] = True
    if not shown.any():
        raise UserError(f"{name}: no structure fills a pixel of the common grid; check the segmentation and spacing")
    rows = np.flatnonzero(shown)
    if config.central_slices and len(rows) > config.central_slices:
        first = (len(rows) - config.central_slices) // 2
        shown[:] = False
        shown[rows[first : first + config.central_slices]] = True
    return shown


def _centre(case: Case, config: PreprocessingConfig, name: str) -> tuple[float, float]:
    """Middle (row, column) of the heart in stored voxels: by the mask, else by what moves, else as configured."""
    if np.isin(case.mask, STRUCTURES).any():
        return centre_of_mask(case.mask)
    if not (case.mask == UNLABELLED).any():
        raise UserError(f"{name}: the mask is empty; remove the case or restore its segmentation")
    if config.unlabelled_centre == "image":
        return (case.image.shape[1] - 1) / 2, (case.image.shape[2] - 1) / 2
    if case.motion is None:
        raise UserError(
            f"{name}: has no mask and shows one moment only, so the heart cannot be found by its motion; give a cine, "
            "or set preprocessing.unlabelled_centre=image where scans are centred on the heart"
        )
    return centre_of_motion(case.motion, case.spacing_mm)


def _centre_of(mask: VolumeMask, name: str) -> tuple[float, float]:
    if not np.isin(mask, STRUCTURES).any():
        raise UserError(f"{name}: the mask is empty; remove the case or restore its segmentation")
    return centre_of_mask(mask)


def _new_spacing_mm(spacing_mm: tuple[float, float, float], config: PreprocessingConfig) -> tuple[float, float, float]:
    pixel_mm = config.field_of_view_mm / config.size
    return spacing_mm[0], pixel_mm, pixel_mm
