"""NIfTI on disk <-> arrays. Stacks are stored (x, y, slice) or (x, y, slice, frame).

Tools that turn volumes to a standard orientation may store the slice axis first or second. It is found where spacing,
size and affine agree on it, and refused where they do not.
"""

import hashlib
import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import nibabel as nib
import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt8
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from cmrfed.config import UserError, not_readable
from cmrfed.core import atomic
from cmrfed.shapes import Volume
from cmrfed.volumes.case import Cine
from cmrfed.volumes.limits import check_finite, check_size, check_spacing, listed, one_line
from cmrfed.volumes.orientation import AS_STORED, Orientation, orientation_of, to_rows_and_columns, turned_spacing

SUFFIXES = (".nii.gz", ".nii")
Affine: TypeAlias = Float64[np.ndarray, "4 4"]

imageglobals.logger.setLevel(logging.CRITICAL + 1)  # what nibabel finds wrong is raised; it need not print it too
_HEADER_WARNING = 30  # nibabel mends zero or negative spacings at this level in silence; here they are refused
_MOST_COMPRESSION = 1032  # what deflate can do at best
_THICK = 2.0
"""Slices lie this many times as far apart as pixels, or the axis is not taken for that of the slices."""
_MANY_SLICES = 40
"""A short-axis stack has fewer; where a volume has more and few pixels a side, its axes are in another order."""
_LABEL_TOLERANCE = 9.99e-4
"""A thousandth, below which a label is a whole number that a slope made uneven; single precision holds 0.999 so."""
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
    grid = _grid(path, image)
    return grid.turned(translated(path, read_labels(path, image, frame), table)), grid.spacing_mm


def read_labels(path: Path, image: nib.Nifti1Image, frame: int | None) -> Shaped[np.ndarray, "x y slice"]:
    """One 3-D frame as whole numbers: what a slope brought within a thousandth of one is that number.

    Raises UserError when a voxel is further from one.
    """
    voxels = read_stored(path, image, frame)
    if voxels.dtype.kind in "iu":
        return voxels
    whole = np.rint(voxels)
    uneven = voxels[np.abs(voxels - whole) > _LABEL_TOLERANCE]
    if uneven.size:
        raise UserError(f"{path}: label {uneven[0]:.6g} is not an integer; resample masks with nearest neighbour")
    return whole


def translated(path: Path, voxels: Shaped[np.ndarray, "*axes"], table: Mapping[int, int]) -> UInt8[np.ndarray, "*axes"]:
    """The file's labels, whole numbers, as `Label`s. Raises UserError when one is not in the table."""
    found = np.unique(voxels)
    for value in found:
        if int(value) not in table:
            raise UserError(f"{path}: unknown label {value:g}; allowed are {listed(table)}")
    canonical = np.array([table[int(value)] for value in found], dtype=np.uint8)
    return canonical[np.searchsorted(found, voxels)]


def write_volume(
    path: Path,
    array: Float32[np.ndarray, "*frame slice row column"] | UInt8[np.ndarray, "*frame slice row column"],
    spacing_mm: tuple[float, float, float],
    author: str = "",
    notes: str = "",
    affine: Affine | None = None,
) -> None:
    """Write a stack (slice, row, column), or several frames of it, as NIfTI that the readers give back exactly.

    The file appears whole or not at all. Spacing is in mm in the order slice, row, column. `author`: whose file
    `is_written_by` will say it is. `notes`: text that goes along in the header, as a comment.
    `affine`: where it lies, of that spacing; `affine_of` by default.
    """
    image = nib.Nifti1Image(array.T, affine_of(spacing_mm) if affine is None else affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm", "sec")
    _save(path, image, author, notes)


def affine_of(spacing_mm: tuple[float, float, float]) -> Affine:
    """Of a stack that lies nowhere yet: (column, row, slice) -> mm right, anterior, superior, columns to the patient's
    left and rows to the posterior."""
    dz, dy, dx = spacing_mm
    return np.diag([-dx, -dy, dz, 1.0])


def affine_as_read(path: Path) -> Affine:
    """Of a file's stack as the readers turn it; `affine_of` its spacing where the file knows no orientation."""
    image = open_image(path)
    grid = _grid(path, image)
    if _has_no_orientation(image):
        return affine_of(grid.spacing_mm)
    x, y = (axis for axis in range(3) if axis != grid.slice_axis)
    across, down = (y, x) if grid.orientation.transpose else (x, y)
    axes = image.affine[:3, [across, down, grid.slice_axis]]
    found = np.eye(4)
    found[:3, :3] = axes / np.linalg.norm(axes, axis=0) * grid.spacing_mm[::-1]
    found[:3, 3] = image.affine[:3, 3]
    flips = (grid.orientation.flip_columns, grid.orientation.flip_rows)
    for axis, flipped in enumerate(flips):
        if flipped:
            found[:3, 3] += (grid.shape[2 - axis] - 1) * found[:3, axis]
            found[:3, axis] *= -1
    return found


def write_on_grid_of(
    path: Path,
    array: Float32[np.ndarray, "slice row column"] | UInt8[np.ndarray, "slice row column"],
    like: Path,
    author: str = "",
    notes: str = "",
) -> None:
    """Write a stack (slice, row, column), as the readers turned it, on the very grid of the NIfTI file `like`: its
    order of axes, spacing and affine, and nothing else of its header. `author`, `notes`: as of `write_volume`."""
    model = open_image(like)
    shape = model.shape[:3]
    places = _grid(like, model).turned(np.arange(np.prod(shape)).reshape(shape))
    stored = np.empty(shape, array.dtype)
    stored.ravel()[places] = array
    header = nib.Nifti1Header()
    for field in _GEOMETRY:
        header[field] = model.header[field]
    _save(path, nib.Nifti1Image(stored, None, header, dtype=array.dtype), author, notes)


_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
"""Where voxels are, as a NIfTI header says it."""


def is_written_by(path: Path, author: str) -> bool:
    """Whether a writer of this module wrote the file for that author, and no voxel was changed since."""
    try:
        image = open_image(path)
        voxels = np.asarray(image.dataobj)
    except (UserError, *_UNREADABLE):
        return False
    return image.header["descrip"].item().decode("latin-1") == _signature(author, voxels)


def _signature(author: str, voxels: Shaped[np.ndarray, "..."]) -> str:
    """What goes into the header's description, which has 80 bytes."""
    return f"{author} {hashlib.sha256(np.ascontiguousarray(voxels).tobytes()).hexdigest()[:32]}"


def notes_of(path: Path) -> list[str]:
    """The comments in a file's header."""
    extensions = open_image(path).header.extensions
    return [one.get_content().decode() for one in extensions if one.get_code() == _COMMENT]


_COMMENT = 6
"""NIfTI's code of a header extension that is plain text."""


def _save(path: Path, image: nib.Nifti1Image, author: str, notes: str) -> None:
    """The file appears whole or not at all; signed, where it has an author."""
    if notes:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, notes.encode()))
    if author:
        image.header["descrip"] = _signature(author, np.asarray(image.dataobj)).encode()
    with atomic.replacing(path) as draft:
        nib.save(image, draft)


def open_nifti(path: Path) -> Cine:
    """Read and check the header. Raises UserError when it is damaged or cannot be that of a cardiac volume."""
    image = open_image(path)
    grid = _grid(path, image)

    def read(frame: int | None) -> Volume:
        return grid.turned(_as_float32(path, read_stored(path, image, frame)))

    def read_all() -> Iterator[Volume]:
        kept_open = open_image(path, keep_open=True)
        for frame in range(image.shape[3]) if image.ndim == 4 else (None,):
            yield grid.turned(_as_float32(path, read_stored(path, kept_open, frame)))

    return Cine(
        path=path,
        shape=grid.shape,
        frames=image.shape[3] if image.ndim == 4 else None,
        spacing_mm=grid.spacing_mm,
        orientation=grid.orientation,
        read=read,
        read_all=read_all,
    )


def open_image(path: Path, keep_open: bool = False) -> nib.Nifti1Image:
    """The file's header, checked, with its voxels still on disk.

    Kept open, a compressed file can be read frame by frame without unpacking it from the start for each.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file; check the data folder and that the download is complete")
        with imageglobals.ErrorLevel(_HEADER_WARNING):
            image = nib.load(path, keep_file_open=keep_open)
    except HeaderDataError as error:
        raise UserError(f"{path}: the NIfTI header is invalid ({one_line(error)}); export the file again") from None
    except _UNREADABLE as error:
        otherwise = f"{path}: not a readable NIfTI file ({one_line(error)}); export it as .nii.gz"
        raise not_readable(path, error, otherwise) from None
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
    if not (np.isfinite(image.affine).all() and np.linalg.norm(image.affine[:3, :3], axis=0).all()):
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
    otherwise = f"{path}: voxels cannot be read ({one_line(error)}); the file is truncated, copy it again"
    return not_readable(path, error, otherwise)


def _as_float32(path: Path, voxels: Shaped[np.ndarray, "x y slice"]) -> Float32[np.ndarray, "x y slice"]:
    with np.errstate(all="ignore"):
        narrowed = voxels.astype(np.float32)
    check_finite(narrowed, path)
    return narrowed


class _Grid(NamedTuple):
    """How the stored axes become slices, rows and columns; shape and spacing are in that order."""

    slice_axis: int
    orientation: Orientation
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def turned(self, stored: Shaped[np.ndarray, "x y z"]) -> Shaped[np.ndarray, "slice row column"]:
        return to_rows_and_columns(np.moveaxis(stored, self.slice_axis, 2), self.orientation)


def _grid(path: Path, image: nib.Nifti1Image) -> _Grid:
    """The grid that the header tells. Raises UserError when spacing is absurd or the order of axes cannot be told."""
    spacing_mm = stored_spacing_mm(image)
    for told in (spacing_mm, _pixdim_mm(image)):
        check_spacing(told, path)
    slice_axis = _slice_axis(path, image, spacing_mm)
    x, y = (axis for axis in range(3) if axis != slice_axis)
    orientation = _orientation(image, (x, y))
    columns, rows = (y, x) if orientation.transpose else (x, y)
    return _Grid(
        slice_axis=slice_axis,
        orientation=orientation,
        shape=(image.shape[slice_axis], image.shape[rows], image.shape[columns]),
        spacing_mm=turned_spacing((spacing_mm[x], spacing_mm[y], spacing_mm[slice_axis]), orientation),
    )


def stored_spacing_mm(image: nib.Nifti1Image) -> tuple[float, float, float]:
    """Distance between voxel centres along each stored axis.

    Where pixdim and the affine differ, viewers go by the affine, and so does this, unless the affine is that of 1 mm
    voxels, which tools write when they know none.
    """
    by_affine = _affine_mm(image)
    believed = by_affine if spacing_conflict(image) and not np.allclose(by_affine, 1) else _pixdim_mm(image)
    return (believed[0], believed[1], believed[2])


def spacing_conflict(image: nib.Nifti1Image) -> str | None:
    """What pixdim and the affine say of the spacing where they differ."""
    by_pixdim, by_affine = _pixdim_mm(image), _affine_mm(image)
    if np.allclose(by_pixdim, by_affine, rtol=1e-3):
        return None
    pixdim, affine = (" x ".join(f"{size:.4g}" for size in told) for told in (by_pixdim, by_affine))
    return f"pixdim says {pixdim} mm and the affine {affine} mm"


def _pixdim_mm(image: nib.Nifti1Image) -> tuple[float, ...]:
    return tuple(float(size) for size in image.header.get_zooms()[:3])


def _affine_mm(image: nib.Nifti1Image) -> tuple[float, ...]:
    return tuple(float(size) for size in np.linalg.norm(image.affine[:3, :3], axis=0))


def _slice_axis(path: Path, image: nib.Nifti1Image, spacing_mm: tuple[float, float, float]) -> int:
    """The stored axis that runs across slices: the third, or one along which voxels are few and far apart."""
    shape = image.shape[:3]
    thickest = int(np.argmax(spacing_mm))
    if thickest == 2 or spacing_mm[thickest] < _THICK * sorted(spacing_mm)[1]:
        if shape[2] >= _MANY_SLICES and shape[2] > 4 * min(shape[:2]):
            raise UserError(f"{path}: claims {shape[2]} slices of {shape[0]} x {shape[1]} voxels; store (x, y, slice)")
        return 2
    spacing, size = (" x ".join(f"{value:g}" for value in values) for values in (spacing_mm, shape))
    if shape[thickest] > min(shape):
        raise UserError(
            f"{path}: spacing is {spacing} mm but the size {size} voxels, so it cannot be told which axis runs across "
            "slices; correct the spacing, or store (x, y, slice)"
        )
    if _has_no_orientation(image):
        raise UserError(
            f"{path}: spacing {spacing} mm says that axis {thickest + 1} runs across slices, and no orientation tells "
            "which of the others is the row; store (x, y, slice)"
        )
    return thickest


def _orientation(image: nib.Nifti1Image, in_plane: tuple[int, int]) -> Orientation:
    """How the file's plane is turned, by its affine."""
    if _has_no_orientation(image):
        return AS_STORED
    directions = image.affine[:3, in_plane]
    return orientation_of(directions / np.linalg.norm(directions, axis=0))


def _has_no_orientation(image: nib.Nifti1Image) -> bool:
    """Whether the affine only repeats a spacing, as tools write it when they never knew the patient's position.

    A short-axis plane is oblique in every patient, so an affine with a positive diagonal cannot be true. Such files
    (ACDC among them) keep the pixels in DICOM's order, which already is the order on a radiologist's screen.
    """
    linear = image.affine[:3, :3]
    spacing_only = np.diag(_affine_mm(image))
    return np.allclose(linear, spacing_only, atol=1e-4) or np.allclose(image.affine, image.header.get_base_affine())
