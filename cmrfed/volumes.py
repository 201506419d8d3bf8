"""Volumes on disk <-> Case, the one form in which a patient's stack travels through the project.

On disk a short-axis stack is NIfTI, stored (x, y, slice) or (x, y, slice, frame). In memory it is (slice, row, column)
with columns running to the patient's left and rows to the patient's posterior-inferior side. The third stored axis is
always the slice axis: canonical reorientation may move it on oblique stacks, whose normal can lie nearest to any axis.
"""

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from cmrfed.config import UserError
from cmrfed.shapes import UNKNOWN, UNLABELLED, Label, Volume, VolumeMask

MAX_AXIS = 1024
"""Longest believable axis of a cardiac volume, in voxels."""
MAX_BYTES = 2 * 1024**3
"""Largest file, unpacked, that is read. A few kilobytes of gzip can claim far more."""
SPACING_RANGE_MM = (0.05, 50.0)
"""Believable distances between voxel centres; metres and micrometres fall outside."""

_HEADER_WARNING = 30  # nibabel mends zero or negative spacings at this level in silence; here they are refused
_RIGHT_TO_LEFT = np.array([-1.0, 0.0, 0.0])  # in nibabel's frame: right, anterior, superior
_TO_POSTERIOR_INFERIOR = np.array([0.0, -1.0, -1.0]) / np.sqrt(2)


@dataclass(frozen=True)
class Case:
    """One patient's short-axis stack at one cardiac phase.

    image: intensities (slice, row, column), float32, finite.
    mask: labels of `cmrfed.shapes.Label` (slice, row, column), uint8, same shape as the image; UNLABELLED where nobody
        has labelled: everywhere in a stack without a segmentation, outside the left ventricle where only that is drawn.
    spacing_mm: distance between slice, row and column centres, in that order.
    patient: the privacy unit; unique over all data sets of a run, the same for every phase and visit of one person.
    dataset, vendor, centre, phase, pathology: what sites, strata and conditions are made from.
    motion: how much each voxel changes over the heart beat (>= 0, arbitrary units, shape of the image), where the file
        is a cine; the heart is found by it where there is no mask.

    Raises UserError when the arrays differ in shape, hold NaN, infinities or unknown labels, or the spacing is absurd.
    """

    image: Volume
    mask: VolumeMask
    spacing_mm: tuple[float, float, float]
    patient: str
    dataset: str
    vendor: str = UNKNOWN
    centre: str = UNKNOWN
    phase: str = UNKNOWN
    pathology: str = UNKNOWN
    motion: Volume | None = None

    def __post_init__(self) -> None:
        name = f"{self.patient} {self.phase}"
        if self.image.shape != self.mask.shape:
            raise UserError(f"{name}: image is {self.image.shape}, mask {self.mask.shape}; they must cover one grid")
        _check_finite(self.image, name)
        _check_spacing(self.spacing_mm, name)
        unknown = self.mask[(self.mask > max(Label)) & (self.mask != UNLABELLED)]
        if unknown.size:
            raise UserError(f"{name}: mask holds label {unknown.max()}; allowed are {_listed(Label)}")


@dataclass(frozen=True)
class Entry:
    """Where one Case is on disk and all that is known of it before a voxel is read.

    mask_path: None where there is no segmentation. labels: the file's label -> `Label`.
    frame: 0-based index into a 4-D image and mask, None for 3-D files.
    The other fields are those of `Case`.
    """

    image_path: Path
    mask_path: Path | None
    labels: Mapping[int, Label]
    frame: int | None
    patient: str
    dataset: str
    vendor: str = UNKNOWN
    centre: str = UNKNOWN
    phase: str = UNKNOWN
    pathology: str = UNKNOWN


class Orientation(NamedTuple):
    """How stored in-plane axes become rows and columns: swap the two axes, then flip rows, then columns."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool


AS_STORED = Orientation(transpose=False, flip_rows=False, flip_columns=False)
"""The first stored axis is the column, the second the row: the order of the pixels in DICOM and on a screen."""


def load_case(entry: Entry) -> Case:
    """Read the image and mask of one entry. Raises UserError naming the file at fault."""
    image, spacing_mm = read_volume(entry.image_path, entry.frame)
    if entry.mask_path is None:
        return _case(entry, image, np.full(image.shape, UNLABELLED, dtype=np.uint8), spacing_mm)
    mask, _ = read_mask(entry.mask_path, entry.labels, entry.frame)
    if image.shape != mask.shape:
        raise UserError(
            f"{entry.mask_path}: mask is {mask.shape} (slice, row, column) but its image {entry.image_path.name} "
            f"is {image.shape}; export both on one grid"
        )
    if _orientation(_open(entry.image_path)) != _orientation(_open(entry.mask_path)):
        raise UserError(
            f"{entry.mask_path}: orientation differs from that of its image {entry.image_path.name}; "
            "copy the image's affine into the mask, or export both from one tool"
        )
    return _case(entry, image, mask, spacing_mm)


def _case(entry: Entry, image: Volume, mask: VolumeMask, spacing_mm: tuple[float, float, float]) -> Case:
    return Case(
        image, mask, spacing_mm, entry.patient, entry.dataset, entry.vendor, entry.centre, entry.phase, entry.pathology
    )


def read_volume(
    path: Path, frame: int | None = None
) -> tuple[Float32[np.ndarray, "slice row column"], tuple[float, float, float]]:
    """Read a 3-D NIfTI volume, or one 0-based `frame` of a 4-D one, in the project's orientation.

    Returns intensities (slice, row, column), float32, scaled by the file's slope and intercept, and the spacing in mm
    in the same order. Raises UserError when the file is missing, damaged, too large, not finite or wrongly shaped.
    """
    voxels, orientation, spacing_mm = _read_stored(path, frame)
    return _to_rows_and_columns(voxels.astype(np.float32), orientation), spacing_mm


def read_mask(
    path: Path, table: Mapping[int, Label], frame: int | None = None
) -> tuple[UInt8[np.ndarray, "slice row column"], tuple[float, float, float]]:
    """Read a segmentation and translate its labels by `table` (file label -> Label), which must list background too.

    Returns labels (slice, row, column) and the spacing in mm in the same order. Raises UserError as `read_volume` does,
    and when a voxel is not an integer or its label is not in the table.
    """
    voxels, orientation, spacing_mm = _read_stored(path, frame)
    found = np.unique(voxels)
    for value in found:
        if value != np.rint(value):
            raise UserError(f"{path}: label {value:g} is not an integer; resample masks with nearest neighbour")
        if int(value) not in table:
            raise UserError(f"{path}: unknown label {value:g}; allowed are {_listed(table)}")
    canonical = np.array([table[int(value)] for value in found], dtype=np.uint8)
    return _to_rows_and_columns(canonical[np.searchsorted(found, voxels)], orientation), spacing_mm


def write_volume(
    path: Path,
    array: Float32[np.ndarray, "*frame slice row column"] | UInt8[np.ndarray, "*frame slice row column"],
    spacing_mm: tuple[float, float, float],
) -> None:
    """Write a stack (slice, row, column), or several frames of it, as NIfTI that the readers give back exactly.

    The file appears whole or not at all. Spacing is in mm in the order slice, row, column.
    """
    dz, dy, dx = spacing_mm
    image = nib.Nifti1Image(array.T, np.diag([-dx, -dy, dz, 1.0]), dtype=array.dtype)
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # nibabel compresses by the suffix, so it stays
    try:
        nib.save(image, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_stored(
    path: Path, frame: int | None
) -> tuple[Shaped[np.ndarray, "x y slice"], Orientation, tuple[float, float, float]]:
    """One checked frame as stored, how to turn it, and the spacing of the turned volume."""
    image = _open(path)
    orientation = _orientation(image)
    x, y, z = (float(size) for size in image.header.get_zooms()[:3])
    spacing_mm = (z, x, y) if orientation.transpose else (z, y, x)
    _check_spacing(spacing_mm, path)
    voxels = _read_frame(path, image, frame)
    _check_finite(voxels, path)
    return voxels, orientation, spacing_mm


def _open(path: Path) -> nib.Nifti1Image:
    """Read and check the header only."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the data folder and that the download is complete")
    try:
        with imageglobals.LoggingOutputSuppressor(), imageglobals.ErrorLevel(_HEADER_WARNING):
            image = nib.load(path)
    except HeaderDataError as error:
        raise UserError(f"{path}: the NIfTI header is invalid ({_one_line(error)}); export the file again") from None
    except (ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path}: not a readable NIfTI file ({_one_line(error)}); export it as .nii.gz") from None
    if not isinstance(image, nib.Nifti1Image):
        raise UserError(f"{path}: is {type(image).__name__}, not NIfTI; export it as .nii.gz")
    _check_header(path, image)
    return image


def _check_header(path: Path, image: nib.Nifti1Image) -> None:
    shape, kind = image.shape, image.get_data_dtype()
    if len(shape) not in (3, 4):
        raise UserError(f"{path}: has {len(shape)} axes {shape}; expected 3 (x, y, slice) or 4 (x, y, slice, frame)")
    if min(shape) < 1 or max(shape) > MAX_AXIS:
        raise UserError(f"{path}: claims {shape} voxels; each axis of a cardiac volume has 1 to {MAX_AXIS}")
    if kind.kind not in "iuf":
        raise UserError(f"{path}: voxels are of type {kind}; expected plain integers or floats")
    unpacked = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if unpacked > MAX_BYTES:
        raise UserError(f"{path}: claims {unpacked / 1024**3:.1f} GiB unpacked; at most 2 GiB is read")


def _read_frame(path: Path, image: nib.Nifti1Image, frame: int | None) -> Shaped[np.ndarray, "x y slice"]:
    """One 3-D frame as stored, scaled."""
    frames = image.shape[3] if image.ndim == 4 else None
    if frames is None and frame is not None:
        raise UserError(f"{path}: frame {frame} was asked of a 3-D volume; expected a 4-D cine")
    if frames is not None and frame is None and frames > 1:
        raise UserError(f"{path}: is 4-D with {frames} frames; name the one to read")
    if frames is not None and frame is not None and not 0 <= frame < frames:
        raise UserError(f"{path}: frame {frame} is out of range; the file holds frames 0 to {frames - 1}")
    try:
        return np.asarray(image.dataobj if frames is None else image.dataobj[..., frame or 0])
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(
            f"{path}: voxels cannot be read ({_one_line(error)}); the file is truncated, copy it again"
        ) from None


def _orientation(image: nib.Nifti1Image) -> Orientation:
    """The swap and flips that best turn columns to the left and rows to posterior-inferior, by the file's affine.

    In a plane across the heart's long axis these two directions are nearly perpendicular, so the best is unambiguous.
    """
    if _has_no_orientation(image):
        return AS_STORED
    axes = image.affine[:3, :2] / np.linalg.norm(image.affine[:3, :2], axis=0)
    left, down = _RIGHT_TO_LEFT @ axes, _TO_POSTERIOR_INFERIOR @ axes

    def agreement(way: Orientation) -> float:
        column, row = (1, 0) if way.transpose else (0, 1)
        return float(left[column] * (-1) ** way.flip_columns + down[row] * (-1) ** way.flip_rows)

    return max((Orientation(*flags) for flags in product((False, True), repeat=3)), key=agreement)


def _has_no_orientation(image: nib.Nifti1Image) -> bool:
    """Whether the affine only repeats the spacing, as tools write it when they never knew the patient's position.

    A short-axis plane is oblique in every patient, so an affine with a positive diagonal cannot be true. Such files
    (ACDC among them) keep the pixels in DICOM's order, which already is the order on a radiologist's screen.
    """
    linear = image.affine[:3, :3]
    spacing_only = np.diag(image.header.get_zooms()[:3])
    return np.allclose(linear, spacing_only, atol=1e-4) or np.allclose(image.affine, image.header.get_base_affine())


def _to_rows_and_columns(
    stored: Shaped[np.ndarray, "x y slice"], orientation: Orientation
) -> Shaped[np.ndarray, "slice row column"]:
    volume = stored.transpose(2, 0, 1) if orientation.transpose else stored.transpose(2, 1, 0)
    rows = slice(None, None, -1 if orientation.flip_rows else 1)
    columns = slice(None, None, -1 if orientation.flip_columns else 1)
    return np.ascontiguousarray(volume[:, rows, columns])


def _check_finite(voxels: Shaped[np.ndarray, "..."], name: object) -> None:
    bad = voxels.size - np.count_nonzero(np.isfinite(voxels))
    if bad:
        raise UserError(f"{name}: {bad} voxels are NaN or infinite; export the volume again without them")


def _check_spacing(spacing_mm: tuple[float, ...], name: object) -> None:
    low, high = SPACING_RANGE_MM
    if not all(low <= distance <= high for distance in spacing_mm):
        shown = " x ".join(f"{distance:g}" for distance in spacing_mm)
        raise UserError(f"{name}: voxel spacing {shown} mm is outside {low:g} to {high:g} mm; correct the header")


def _listed(labels: Mapping[int, Label] | type[Label]) -> str:
    pairs = labels.items() if isinstance(labels, Mapping) else ((label.value, label) for label in labels)
    return ", ".join(f"{number} {label.name}" for number, label in pairs)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
