"""A folder of DICOM files -> one short-axis cine, read through SimpleITK (GDCM).

A study may hold one series of all slices or a series a slice, localisers, long-axis views and files that are no images.
The stack is the largest group of parallel slices of one size; what lies across it on one position only is left out and
said. Nothing that identifies a patient is read: of each header only the tags of `_TAGS` and the geometry are used.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from jaxtyping import Float

from cmrfed.config import UserError
from cmrfed.shapes import UNKNOWN, Volume
from cmrfed.volumes.case import Cine
from cmrfed.volumes.dicom_elements import elements_fit, is_dicom
from cmrfed.volumes.limits import check_finite, check_size, check_spacing, one_line
from cmrfed.volumes.orientation import Orientation, orientation_of, to_rows_and_columns, turned_spacing
from cmrfed.volumes.trees import files_under
from cmrfed.volumes.vendors import canonical_vendor

MAX_FILES = 20_000
"""Most files of one patient's folder: ten times a long cine study."""
SAME_POSITION_MM = 0.1
"""Slices closer than this are one slice at different times."""
UNEVEN = 0.2
"""Gaps between slices may differ by this share of their median: breath-holds differ, a missing slice doubles one."""
PARALLEL = 0.995
"""Cosine between the normals of planes that belong together (within six degrees)."""

_MODALITY, _IMAGE_TYPE, _MANUFACTURER = "0008|0060", "0008|0008", "0008|0070"
_SERIES, _INSTANCE, _TRIGGER_MS = "0020|000e", "0020|0013", "0018|1060"
_POSITION, _DIRECTIONS, _PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
_SLICE_GAP_MM, _THICKNESS_MM = "0018|0088", "0018|0050"
_TAGS = (_MODALITY, _IMAGE_TYPE, _MANUFACTURER, _SERIES, _INSTANCE, _TRIGGER_MS, _SLICE_GAP_MM, _THICKNESS_MM)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Slice:
    """One image file's header. Directions and position are in DICOM's frame: left, posterior, superior."""

    path: Path
    size: tuple[int, int]
    spacing_mm: tuple[float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    position_mm: tuple[float, float, float]
    tags: dict[str, str]

    @property
    def normal(self) -> Float[np.ndarray, " 3"]:
        return np.cross(self.row, self.column)

    def number(self, tag: str) -> float | None:
        """The tag's value, None where it is absent or no finite number."""
        return _finite(self.tags.get(tag, ""))


def open_series(folder: Path) -> Cine:
    """Find the short-axis stack in a folder (searched with its subfolders) and read its headers.

    Slices are ordered along the plane's normal, frames by trigger time, or by instance number where that is missing.
    Raises UserError when there is none, when there are several, or when slices or frames are missing.
    """
    slices, ignored = _read_headers(folder)
    stack, views = _largest_stack(folder, slices, ignored)
    ignored.update(views)
    if ignored:
        _log.info("%s: left out %s", folder, _counted(ignored))
    frames = _ordered(folder, stack, ignored)
    first = frames[0][0]
    orientation = orientation_of(np.array([first.row, first.column]).T * [[-1.0], [-1.0], [1.0]])
    spacing_mm = turned_spacing((*first.spacing_mm, _slice_gap_mm(folder, frames[0])), orientation)
    check_spacing(spacing_mm, folder)
    return _cine(folder, frames, orientation, spacing_mm)


def holds_dicom(folder: Path) -> bool:
    """Whether the first file found under the folder that could be DICOM is."""
    return any(is_dicom(path) for path in _files(folder, 50))


def _cine(
    folder: Path,
    frames: Sequence[Sequence[_Slice]],
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
        pixels = [_read_pixels(one) for one in frames[frame or 0]]
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


def _read_headers(folder: Path) -> tuple[list[_Slice], Counter[str]]:
    """Every MR image's header under the folder, and what else was there."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; check the data folder and that the download is complete")
    slices: list[_Slice] = []
    ignored: Counter[str] = Counter()
    for count, path in enumerate(_files(folder, MAX_FILES + 1)):
        if count == MAX_FILES:
            raise UserError(f"{folder}: holds more than {MAX_FILES} files; give one patient's short-axis series")
        header = _read_header(path) if is_dicom(path) else "file that is not DICOM"
        if isinstance(header, _Slice):
            slices.append(header)
        else:
            ignored[header] += 1
    return slices, ignored


def _read_header(path: Path) -> _Slice | str:
    """The header of a 2-D MR image, or what the file is instead."""
    if not elements_fit(path):
        return "DICOM file that is damaged or cut short"
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return "DICOM file without a readable image"
    present = set(reader.GetMetaDataKeys())
    tags = {tag: reader.GetMetaData(tag).strip() for tag in _TAGS if tag in present}
    if tags.get(_MODALITY) != "MR":
        return f"image of modality {tags.get(_MODALITY, '')!r}"[:40]
    if len(reader.GetSize()) > 2 and reader.GetSize()[2] != 1:
        return "multi-frame image (convert it to NIfTI)"
    if "LOCALIZER" in tags.get(_IMAGE_TYPE, "").upper():
        return "localiser"
    if not {_POSITION, _DIRECTIONS, _PIXEL_SPACING} <= present:
        return "image without a position"
    if reader.GetNumberOfComponents() != 1:
        return "colour image"
    return _geometry(path, reader, tags)


def _geometry(path: Path, reader: sitk.ImageFileReader, tags: dict[str, str]) -> _Slice | str:
    values = [_numbers(reader.GetMetaData(tag)) for tag in (_POSITION, _DIRECTIONS, _PIXEL_SPACING)]
    position_mm, directions, spacing_mm = values
    if (len(position_mm), len(directions), len(spacing_mm)) != (3, 6, 2):
        return "image without a position"
    row, column = directions[:3], directions[3:]
    if not np.allclose([np.dot(row, row), np.dot(column, column), np.dot(row, column)], [1, 1, 0], atol=0.01):
        return "image whose directions are not at right angles"
    columns, rows = reader.GetSize()[:2]
    check_size((columns, rows, 1), 4, path)
    return _Slice(
        path=path,
        size=(int(columns), int(rows)),
        spacing_mm=(spacing_mm[1], spacing_mm[0]),  # DICOM gives the distance between rows first
        row=(row[0], row[1], row[2]),
        column=(column[0], column[1], column[2]),
        position_mm=(position_mm[0], position_mm[1], position_mm[2]),
        tags=tags,
    )


def _largest_stack(folder: Path, slices: Sequence[_Slice], ignored: Counter[str]) -> tuple[list[_Slice], Counter[str]]:
    """The slices of the stack, and what lies across it."""
    groups: list[list[_Slice]] = []
    for one in slices:
        alike = next((group for group in groups if _is_alike(group[0], one)), None)
        if alike is None:
            groups.append([one])
        else:
            alike.append(one)
    ranked = sorted(groups, key=lambda group: (_count_positions(group), len(group)), reverse=True)
    if not ranked:
        raise UserError(f"{folder}: holds no MR image{_found(ignored)}; export the short-axis series as DICOM")
    stack, *others = ranked
    if others and _count_positions(stack) == 1:
        raise UserError(f"{folder}: holds {len(ranked)} single views and no stack of parallel slices; keep one")
    views: Counter[str] = Counter()
    for other in others:
        if abs(np.dot(other[0].normal, stack[0].normal)) > PARALLEL:
            raise UserError(f"{folder}: holds {_described(stack)} and {_described(other)}; keep one size and spacing")
        if _count_positions(other) > 2:
            raise UserError(
                f"{folder}: holds stacks in two orientations, {_described(stack)} and {_described(other)}; "
                "keep the short-axis one"
            )
        views["image of another view"] += len(other)
    return stack, views


def _is_alike(one: _Slice, other: _Slice) -> bool:
    """Whether two slices have one pixel grid but for their position."""
    return (
        one.size == other.size
        and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3)
        and np.allclose([*one.row, *one.column], [*other.row, *other.column], atol=0.02)
    )


def _described(group: Sequence[_Slice]) -> str:
    columns, rows = group[0].size
    across, down = group[0].spacing_mm
    return f"{_count_positions(group)} slices of {rows} x {columns} pixels of {down:g} x {across:g} mm"


def _along_normal_mm(group: Sequence[_Slice]) -> Float[np.ndarray, " file"]:
    return np.array([one.position_mm for one in group]) @ group[0].normal


def _count_positions(group: Sequence[_Slice]) -> int:
    return 1 + int((np.diff(np.sort(_along_normal_mm(group))) > SAME_POSITION_MM).sum())


def _ordered(folder: Path, stack: Sequence[_Slice], ignored: Counter[str]) -> list[list[_Slice]]:
    """The stack as frames of slices: `[frame][slice]`."""
    along_mm = _along_normal_mm(stack)
    order = np.argsort(along_mm, kind="stable")
    cuts = np.flatnonzero(np.diff(along_mm[order]) > SAME_POSITION_MM) + 1
    positions = [[stack[index] for index in part] for part in np.split(order, cuts)]
    counts = Counter(len(position) for position in positions)
    usual = counts.most_common(1)[0][0]
    for number, position in enumerate(positions):
        if len(position) != usual:
            raise UserError(
                f"{folder}: slice {number} has {len(position)} frames from {len({_series(one) for one in position})} "
                f"series, the others have {usual}{_found(ignored)}; remove repeats or copy the missing files"
            )
    return [list(frame) for frame in zip(*(_in_time(position) for position in positions), strict=True)]


def _in_time(position: list[_Slice]) -> list[_Slice]:
    """The files of one slice by trigger time, or by instance number where trigger times are missing or repeat."""
    times = [one.number(_TRIGGER_MS) for one in position]
    if None in times or len(set(times)) < len(times):
        return sorted(position, key=lambda one: (one.number(_INSTANCE) or 0.0, one.path.name))
    return sorted(position, key=lambda one: one.number(_TRIGGER_MS) or 0.0)


def _slice_gap_mm(folder: Path, frame: Sequence[_Slice]) -> float:
    """Distance between slices, by their positions: a slice's thickness leaves out the gap between two."""
    if len(frame) == 1:
        stated = frame[0].number(_SLICE_GAP_MM) or frame[0].number(_THICKNESS_MM)
        if stated is None:
            raise UserError(f"{folder}: holds one slice that states no thickness; give the whole short-axis stack")
        return abs(stated)
    gaps_mm = np.diff(_along_normal_mm(frame))
    middle_mm = float(np.median(gaps_mm))
    if np.abs(gaps_mm - middle_mm).max() > UNEVEN * middle_mm:
        raise UserError(
            f"{folder}: distances between slices run from {gaps_mm.min():.1f} to {gaps_mm.max():.1f} mm; "
            "a slice is missing or two stacks are mixed, export one even stack"
        )
    return middle_mm


def _read_pixels(one: _Slice) -> Float[np.ndarray, "row column"]:
    """Intensities scaled by the file's slope and intercept, which GDCM applies."""
    try:
        pixels = sitk.GetArrayFromImage(_reader(one.path).Execute())
    except RuntimeError as error:
        raise UserError(f"{one.path}: pixels cannot be read ({_reason(error)}); copy the file again") from None
    columns, rows = one.size
    if pixels.size != rows * columns:
        raise UserError(f"{one.path}: holds {pixels.size} pixels where its header says {rows} x {columns}")
    narrowed: Float[np.ndarray, "row column"] = pixels.reshape(rows, columns).astype(np.float32)
    check_finite(narrowed, one.path)
    return narrowed


def _reader(path: Path) -> sitk.ImageFileReader:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # GDCM's warnings go to the terminal past every logger
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _vendor(one: _Slice) -> str:
    """The scanner's maker, UNKNOWN where it is none of the table: nobody can mend a header by hand."""
    name = one.tags.get(_MANUFACTURER, "")
    try:
        return canonical_vendor(name, one.path)
    except UserError:
        _log.info("%s: Manufacturer %r is taken as %s", one.path, name, UNKNOWN)
        return UNKNOWN


def _series(one: _Slice) -> str:
    return one.tags.get(_SERIES, "")


def _numbers(text: str) -> list[float]:
    """The numbers of a tag of several values; [] when one is not finite."""
    values = [_finite(part) for part in text.split("\\")]
    return [value for value in values if value is not None] if None not in values else []


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _counted(ignored: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in ignored.most_common())


def _found(ignored: Counter[str]) -> str:
    return f" (found {_counted(ignored)})" if ignored else ""


def _reason(error: Exception) -> str:
    """The last sentence of ITK's long message."""
    return one_line(str(error).strip().splitlines()[-1] if str(error).strip() else error)
