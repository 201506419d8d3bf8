"""A folder of DICOM files -> one short-axis cine.

A study may hold one series of all slices or a series a slice, localisers, long-axis views, phase images and files that
are no images: `dicom_file` reads their headers, `dicom_sorting` finds the stack, `dicom_pixels` reads a frame of it.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.shapes import Volume
from cmrfed.volumes.case import Cine
from cmrfed.volumes.dicom_file import DicomImage, is_dicom, read_header
from cmrfed.volumes.dicom_pixels import read_pixels
from cmrfed.volumes.dicom_sorting import counted, frames_of, slice_gap_mm
from cmrfed.volumes.limits import check_size, check_spacing
from cmrfed.volumes.orientation import Orientation, orientation_of, to_rows_and_columns, turned_spacing
from cmrfed.volumes.trees import files_under
from cmrfed.volumes.vendors import canonical_vendor

MAX_FILES = 20_000
"""Most files of one patient's folder: ten times a long cine study."""

_log = logging.getLogger(__name__)


def open_series(folder: Path) -> Cine:
    """Find the short-axis stack in a folder (searched with its subfolders) and read its headers.

    Slices are ordered along the plane's normal, frames by trigger time, or by instance number where that is missing.
    Raises UserError when there is none, when there are several, when slices or frames are missing, and when what to
    take or its order cannot be told.
    """
    images, left_out = _read_headers(folder)
    frames = frames_of(folder, images, left_out)
    if left_out:
        _log.info("%s: left out %s", folder, counted(left_out))
    first = frames[0][0]
    orientation = orientation_of(np.array([first.row, first.column]).T * [[-1.0], [-1.0], [1.0]])
    spacing_mm = turned_spacing((*first.spacing_mm, slice_gap_mm(folder, frames[0])), orientation)
    check_spacing(spacing_mm, folder)
    return _cine(folder, frames, orientation, spacing_mm)


def holds_dicom(folder: Path) -> bool:
    """Whether the first file found under the folder that could be DICOM is."""
    return any(is_dicom(path) for path in _files(folder, 50))


def _cine(
    folder: Path,
    frames: Sequence[Sequence[DicomImage]],
    orientation: Orientation,
    spacing_mm: tuple[float, float, float],
) -> Cine:
    columns, rows = frames[0][0].size
    check_size((columns, rows, len(frames[0]), len(frames)), 4, folder)

    def read(frame: int | None) -> Volume:
        if frame is None and len(frames) > 1:
            raise UserError(f"{folder}: holds {len(frames)} frames; name the one to read")
        if not 0 <= (frame or 0) < len(frames):
            raise UserError(f"{folder}: frame {frame} is out of range; it holds frames 0 to {len(frames) - 1}")
        pixels = [read_pixels(one) for one in frames[frame or 0]]
        return to_rows_and_columns(np.stack(pixels).transpose(2, 1, 0), orientation)

    def read_all() -> Iterator[Volume]:
        return (read(frame) for frame in range(len(frames)))

    return Cine(
        path=folder,
        shape=(len(frames[0]), columns, rows) if orientation.transpose else (len(frames[0]), rows, columns),
        frames=len(frames),
        spacing_mm=spacing_mm,
        orientation=orientation,
        read=read,
        read_all=read_all,
        vendor=_vendor(frames[0][0]),
        files=tuple(tuple(one.path for one in frame) for frame in frames),
    )


def _files(folder: Path, most: int) -> Iterator[Path]:
    """Files under the folder in order of name, at most so many."""
    for count, path in enumerate(files_under(folder)):
        if count == most:
            return
        yield path


def _read_headers(folder: Path) -> tuple[list[DicomImage], Counter[str]]:
    """Every MR image's header under the folder, and what else was there."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; check the data folder and that the download is complete")
    images: list[DicomImage] = []
    left_out: Counter[str] = Counter()
    for count, path in enumerate(_files(folder, MAX_FILES + 1)):
        if count == MAX_FILES:
            raise UserError(f"{folder}: holds more than {MAX_FILES} files; give one patient's short-axis series")
        header = read_header(path)
        if isinstance(header, DicomImage):
            images.append(header)
        else:
            left_out[header] += 1
    return images, left_out


def _vendor(one: DicomImage) -> str:
    """The scanner's maker, UNKNOWN where it is none of the table: nobody can mend a header by hand."""
    try:
        return canonical_vendor(one.maker, one.path)
    except UserError:
        _log.info("%s: Manufacturer %r is taken as %s", one.path, one.maker, UNKNOWN)
        return UNKNOWN
