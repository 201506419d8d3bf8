"""Entry -> Case, whatever the files are."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from cmrfed.conditions import UNLABELLED
from cmrfed.config import UserError
from cmrfed.shapes import STRUCTURES, Volume, VolumeMask
from cmrfed.volumes.case import FIND, Case, Cine, Entry
from cmrfed.volumes.contours import Contours
from cmrfed.volumes.dicom import open_series
from cmrfed.volumes.kspace import open_kspace
from cmrfed.volumes.nifti import open_nifti, read_mask
from cmrfed.volumes.phases import motion, phase_from_cine, phase_from_masks
from cmrfed.volumes.whole_heart import cut_short_axis

ReadMask = Callable[[int | None], VolumeMask]


def load_case(entry: Entry) -> Case:
    """Read the image and mask of one entry.

    Where the mask shows no structure and the image is a cine, the case has its motion too.
    Raises UserError naming the file at fault.
    """
    if entry.long_axis is not None:
        return _case(entry, *cut_short_axis(entry))
    cine = open_cine(entry.image_path)
    masks = _open_masks(entry, cine)
    moving = cache(lambda: motion(cine))  # measured once, and only if asked for
    frame = _find_frame(entry, cine, masks, moving) if entry.frame == FIND else entry.frame
    image, mask = cine.read(frame), masks(frame)
    unlabelled = not np.isin(mask, STRUCTURES).any()
    return _case(entry, image, mask, cine.spacing_mm, moving() if unlabelled and (cine.frames or 1) > 1 else None)


def open_cine(path: Path) -> Cine:
    """Check the headers of an image: a folder is a DICOM series, .h5 raw data, and anything else NIfTI."""
    if path.is_dir():
        return open_series(path)
    return open_kspace(path) if path.suffix == ".h5" else open_nifti(path)


def _case(
    entry: Entry,
    image: Volume,
    mask: VolumeMask,
    spacing_mm: tuple[float, float, float],
    moving: Volume | None = None,
) -> Case:
    return Case(
        image=image,
        mask=mask,
        spacing_mm=spacing_mm,
        patient=entry.patient,
        dataset=entry.dataset,
        vendor=entry.vendor,
        centre=entry.centre,
        phase=entry.phase,
        pathology=entry.pathology,
        conditions=entry.conditions,
        visit=entry.visit,
        motion=moving,
        voxels=hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest(),
    )


def _open_masks(entry: Entry, cine: Cine) -> ReadMask:
    """How the mask of a frame is read, checked against the image."""
    path = entry.mask_path
    if path is None:
        return lambda _: np.full(cine.shape, UNLABELLED, dtype=np.uint8)
    if path.is_dir():
        return Contours(path, cine).mask
    drawn = open_nifti(path)
    if drawn.shape != cine.shape:
        raise UserError(
            f"{path}: mask is {drawn.shape} (slice, row, column) but its image {cine.path.name} "
            f"is {cine.shape}; export both on one grid"
        )
    if drawn.orientation != cine.orientation:
        raise UserError(
            f"{path}: orientation differs from that of its image {cine.path.name}; "
            "copy the image's affine into the mask, or export both from one tool"
        )
    of_one_frame = (drawn.frames or 1) == 1
    _check_frames(entry, cine, drawn)
    return lambda frame: read_mask(path, entry.labels, None if of_one_frame else frame)[0]


def _check_frames(entry: Entry, cine: Cine, drawn: Cine) -> None:
    """A mask has the frames of its cine, or is of the one frame that the entry names."""
    of_mask, of_image = drawn.frames or 1, cine.frames or 1
    if of_mask not in (1, of_image):
        raise UserError(
            f"{drawn.path}: has {of_mask} frames but its image {cine.path.name} has {of_image}; export a mask of every "
            "frame, or one of each labelled frame as a file of its own"
        )
    if of_mask < of_image and entry.frame == FIND:
        raise UserError(
            f"{drawn.path}: is drawn on one of the {of_image} frames of {cine.path.name}; say on which (column frame)"
        )


def _find_frame(entry: Entry, cine: Cine, masks: ReadMask, moving: Callable[[], Volume]) -> int:
    if entry.phase not in ("ED", "ES"):
        raise UserError(f"{cine.path}: the frame of phase {entry.phase!r} cannot be found; only ED and ES can")
    if (cine.frames or 1) < 2:
        raise UserError(f"{cine.path}: has one frame, so {entry.phase} cannot be found in it; give a cine")
    labelled = phase_from_masks(cine, entry.phase, masks) if entry.mask_path is not None else None
    return phase_from_cine(cine, entry.phase, moving()) if labelled is None else labelled
