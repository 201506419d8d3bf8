"""NIfTI on disk <-> arrays. Stacks are stored (x, y, slice) or (x, y, slice, frame)."""

import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from cmrfed.config import UserError
from cmrfed.shapes import Volume
from cmrfed.volumes.case import Cine
from cmrfed.volumes.limits import check_finite, check_size, check_spacing, listed, one_line
from cmrfed.volumes.orientation import AS_STORED, Orientation, orientation_of, to_rows_and_columns, turned_spacing

SUFFIXES = (".nii.gz", ".nii")

imageglobals.logger.setLevel(logging.CRITICAL + 1)  # what nibabel finds wrong is raised; it need not print it too
_HEADER_WARNING = 30  # nibabel mends zero or negative spacings at this level in silence; here they are refused
_MOST_COMPRESSION = 1032  # what deflate can do at best
_UNREADABLE = (ImageFileError, OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError)


def read_volume(
    path: Path, frame: int | None = None
) -> tuple[Float32[np.ndarray, "slice row column"], tuple[float, float, float]]:
    """Read a 3-D NIfTI volume, or one 0-based `frame` of a 4-D one, in the project's orientation.

    Returns intensities (slice, row, column), float32, scaled by the file's slope and intercept, and the spacing in mm
    in the same order. Raises UserError when the file is missing, damaged, too large, not finite or wrongly shaped.
    """
    cine = open_nifti(path)
    return cine.read(frame), cine.spacing_mm


def read_mask(
    path: Path, table: Mapping[int, int], frame: int | None = None
) -> tuple[UInt8[np.ndarray, "slice row column"], tuple[float, float, float]]:
    """Read a segmentation and translate its labels by `table`: file label -> Label or UNLABELLED, background too.

    Returns labels (slice, row, column) and the spacing in mm in the same order. Raises UserError as `read_volume` does,
    and when a voxel is not an integer or its label is not in the table.
    """
    image = open_image(path)
    orientation, spacing_mm = _orientation(image), _spacing_mm(path, image)
    stored = read_stored(path, image, frame)
    return to_rows_and_columns(translated(path, stored, table), orientation), spacing_mm


def translated(path: Path, voxels: Shaped[np.ndarray, "*axes"], table: Mapping[int, int]) -> UInt8[np.ndarray, "*axes"]:
    """The file's labels as `Label`s. Raises UserError when one is not in the table."""
    found = np.unique(voxels)
    for value in found:
        if value != np.rint(value):
            raise UserError(f"{path}: label {value:g} is not an integer; resample masks with nearest neighbour")
        if int(value) not in table:
            raise UserError(f"{path}: unknown label {value:g}; allowed are {listed(table)}")
    canonical = np.array([table[int(value)] for value in found], dtype=np.uint8)
    return canonical[np.searchsorted(found, voxels)]


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


def open_nifti(path: Path) -> Cine:
    """Read and check the header. Raises UserError when it is damaged or cannot be that of a cardiac volume."""
    image = open_image(path)
    orientation = _orientation(image)
    x, y, slices = image.shape[:3]

    def read(frame: int | None) -> Volume:
        return to_rows_and_columns(_as_float32(path, read_stored(path, image, frame)), orientation)

    def read_all() -> Iterator[Volume]:
        kept_open = open_image(path, keep_open=True)
        for frame in range(image.shape[3]) if image.ndim == 4 else (None,):
            yield to_rows_and_columns(_as_float32(path, read_stored(path, kept_open, frame)), orientation)

    return Cine(
        path=path,
        shape=(slices, x, y) if orientation.transpose else (slices, y, x),
        frames=image.shape[3] if image.ndim == 4 else None,
        spacing_mm=_spacing_mm(path, image),
        orientation=orientation,
        read=read,
        read_all=read_all,
    )


def open_image(path: Path, keep_open: bool = False) -> nib.Nifti1Image:
    """The file's header, checked, with its voxels still on disk.

    Kept open, a compressed file can be read frame by frame without unpacking it from the start for each.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the data folder and that the download is complete")
    try:
        with imageglobals.ErrorLevel(_HEADER_WARNING):
            image = nib.load(path, keep_file_open=keep_open)
    except HeaderDataError as error:
        raise UserError(f"{path}: the NIfTI header is invalid ({one_line(error)}); export the file again") from None
    except _UNREADABLE as error:
        raise UserError(f"{path}: not a readable NIfTI file ({one_line(error)}); export it as .nii.gz") from None
    if not isinstance(image, nib.Nifti1Image):
        raise UserError(f"{path}: is {type(image).__name__}, not NIfTI; export it as .nii.gz")
    _check_header(path, image)
    return image


def _check_header(path: Path, image: nib.Nifti1Image) -> None:
    shape, kind = image.shape, image.get_data_dtype()
    if len(shape) not in (3, 4):
        raise UserError(f"{path}: has {len(shape)} axes {shape}; expected 3 (x, y, slice) or 4 (x, y, slice, frame)")
    if kind.kind not in "iuf":
        raise UserError(f"{path}: voxels are of type {kind}; expected plain integers or floats")
    check_size(shape, kind.itemsize, path)
    holds = path.stat().st_size * (_MOST_COMPRESSION if path.suffix == ".gz" else 1)
    if holds < np.prod(shape, dtype=np.int64) * kind.itemsize:
        raise UserError(f"{path}: is too short for the {shape} voxels it claims; the file is truncated, copy it again")
    if not (np.isfinite(image.affine).all() and np.linalg.norm(image.affine[:3, :2], axis=0).all()):
        raise UserError(f"{path}: the affine points nowhere; correct the header's sform and qform")


def read_stored(path: Path, image: nib.Nifti1Image, frame: int | None) -> Shaped[np.ndarray, "x y slice"]:
    """One 3-D frame as stored, scaled, finite."""
    frames = image.shape[3] if image.ndim == 4 else None
    if frames is None and frame is not None:
        raise UserError(f"{path}: frame {frame} was asked of a 3-D volume; expected a 4-D cine")
    if frames is not None and frame is None and frames > 1:
        raise UserError(f"{path}: is 4-D with {frames} frames; name the one to read")
    if frames is not None and frame is not None and not 0 <= frame < frames:
        raise UserError(f"{path}: frame {frame} is out of range; the file holds frames 0 to {frames - 1}")
    try:
        with np.errstate(all="ignore"):  # what comes of an absurd slope is checked below
            voxels = np.asarray(image.dataobj if frames is None else image.dataobj[..., frame or 0])
    except _UNREADABLE as error:
        raise _truncated(path, error) from None
    check_finite(voxels, path)
    return voxels


def _truncated(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: voxels cannot be read ({one_line(error)}); the file is truncated, copy it again")


def _as_float32(path: Path, voxels: Shaped[np.ndarray, "x y slice"]) -> Float32[np.ndarray, "x y slice"]:
    with np.errstate(all="ignore"):
        narrowed = voxels.astype(np.float32)
    check_finite(narrowed, path)
    return narrowed


def _spacing_mm(path: Path, image: nib.Nifti1Image) -> tuple[float, float, float]:
    x, y, z = (float(size) for size in image.header.get_zooms()[:3])
    spacing_mm = turned_spacing((x, y, z), _orientation(image))
    check_spacing(spacing_mm, path)
    return spacing_mm


def _orientation(image: nib.Nifti1Image) -> Orientation:
    """How the file's plane is turned, by its affine."""
    if _has_no_orientation(image):
        return AS_STORED
    axes = image.affine[:3, :2] / np.linalg.norm(image.affine[:3, :2], axis=0)
    return orientation_of(axes)


def _has_no_orientation(image: nib.Nifti1Image) -> bool:
    """Whether the affine only repeats the spacing, as tools write it when they never knew the patient's position.

    A short-axis plane is oblique in every patient, so an affine with a positive diagonal cannot be true. Such files
    (ACDC among them) keep the pixels in DICOM's order, which already is the order on a radiologist's screen.
    """
    linear = image.affine[:3, :3]
    spacing_only = np.diag(image.header.get_zooms()[:3])
    return np.allclose(linear, spacing_only, atol=1e-4) or np.allclose(image.affine, image.header.get_base_affine())
