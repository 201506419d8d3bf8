"""The header of one DICOM file, read by pydicom under bounds on size, steps and nesting.

Nothing that identifies a patient is read: of each file only the tags of `_TAGS` are kept. No native code sees the file
(GDCM, which is native, ends the process over sequences nested deep and over names that are not UTF-8).
"""

import hashlib
import logging
import warnings
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cmrfed.volumes.limits import MAX_AXIS

MAX_FILE_BYTES = 64 * 2**20
"""Largest file of a single slice that is read, unpacked: a thousand pixels a side take two megabytes."""
MAX_STEPS = 30_000
"""Most reads of one file, two or three an element: a few megabytes may claim a million elements."""

_MARK_END = 132
_MODALITY, _IMAGE_TYPE, _COMPONENT, _MAKER = 0x00080060, 0x00080008, 0x00089208, 0x00080070
_SERIES, _NUMBER, _TRIGGER_MS, _FRAMES = 0x0020000E, 0x00200013, 0x00181060, 0x00280008
_POSITION, _DIRECTIONS, _PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030
_SLICE_GAP_MM, _THICKNESS_MM = 0x00180088, 0x00180050
_SAMPLES, _ROWS, _COLUMNS, _BITS, _PIXELS = 0x00280002, 0x00280010, 0x00280011, 0x00280100, 0x7FE00010
_TAGS = (
    *(_MODALITY, _IMAGE_TYPE, _COMPONENT, _MAKER, _SERIES, _NUMBER, _TRIGGER_MS, _FRAMES, _POSITION, _DIRECTIONS),
    *(_PIXEL_SPACING, _SLICE_GAP_MM, _THICKNESS_MM, _SAMPLES, _ROWS, _COLUMNS, _BITS),
)
_DAMAGED = "DICOM file that is damaged or cut short"
_COMPONENTS = {"P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "VELOCITY MAP": "phase"}
_COMPONENTS |= {"R": "real part", "REAL": "real part", "I": "imaginary part", "IMAGINARY": "imaginary part"}
"""What an image type's later values and ComplexImageComponent call what is no magnitude, at Siemens and Philips."""

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # what it finds wrong is raised or told; it need not log it


@dataclass(frozen=True)
class DicomImage:
    """One image file's header. Directions and position are in DICOM's frame: left, posterior, superior.

    size: columns, rows. spacing_mm: between columns, between rows. image_type: upper case, such as ORIGINAL, PRIMARY,
    M, ND. stated_gap_mm: the distance between slices, or their thickness where that is all the file says.
    digest: of the stored pixels.
    """

    path: Path
    size: tuple[int, int]
    spacing_mm: tuple[float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    position_mm: tuple[float, float, float]
    image_type: tuple[str, ...]
    series: str
    number: float | None
    trigger_ms: float | None
    stated_gap_mm: float | None
    maker: str
    digest: bytes

    @property
    def normal(self) -> Float[np.ndarray, " 3"]:
        return np.cross(self.row, self.column)


def is_dicom(path: Path) -> bool:
    """Whether the file carries DICOM's mark, or begins as files do that were written without it."""
    try:
        with path.open("rb") as file:
            return _begins_as_dicom(file.read(_MARK_END))
    except OSError:
        return False


def _begins_as_dicom(content: bytes) -> bool:
    return content[128:_MARK_END] == b"DICM" or _begins_as_data_set(content[:8])


def _begins_as_data_set(start: bytes) -> bool:
    """Whether the first element is of group 2 or 8 and states a type, or a length that a first element can have."""
    if len(start) < 8 or start[0] not in (2, 8) or start[1] or start[3]:
        return False
    kind, length = start[4:6], int.from_bytes(start[4:], "little")
    return (kind.isalpha() and kind.isupper()) or length < 256


def read_header(path: Path) -> DicomImage | str:
    """The header of a 2-D MR magnitude image, or what the file is instead."""
    try:
        content = content_of(path)
    except OSError as error:
        return f"file that cannot be opened ({error.strerror})"
    if not _begins_as_dicom(content):
        return "file that is not DICOM"
    try:
        dataset, stored = parse(content, _TAGS, _at_pixels)
        return _not_an_image(dataset, stored) or _image(path, dataset, stored)
    except RecursionError:
        return "DICOM file whose sequences are nested too deep"
    except Exception:  # pydicom names no closed set of errors over damaged files
        return _DAMAGED


def content_of(path: Path) -> bytes:
    """The file's bytes, and no more of a large file's than shows that it is too large. Raises OSError."""
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def parse(
    content: bytes, tags: Iterable[int], stop_when: Callable[[BaseTag, str | None, int], bool]
) -> tuple[FileDataset, bytes]:
    """The elements of these tags before the one to stop at, and a file's bytes from there on.

    The transfer syntax is named in `file_meta` even where the file names none. Raises whatever pydicom raises, and
    ValueError where the file is larger or has more elements than an image.
    """
    file = _BoundedFile(_unpacked(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = read_partial(file, stop_when, force=True, specific_tags=list(tags))
    dataset.file_meta.TransferSyntaxUID = _transfer_syntax(dataset)
    return dataset, file.getbuffer()[file.tell() :].tobytes()


class _BoundedFile(BytesIO):
    """A file in memory that may be read in so many steps and no more."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._steps = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise ValueError("holds more elements than an image")
        return super().read(size)


def _unpacked(content: bytes) -> bytes:
    """The file's bytes, those of a deflated one inflated and under the name of plain ones."""
    if len(content) > MAX_FILE_BYTES:
        raise ValueError("is larger than an image of one slice")
    deflated = DeflatedExplicitVRLittleEndian.encode()
    if deflated not in content:
        return content
    # no trace of the name may stay: pydicom inflates what bears it, however large it becomes
    return _inflated(content).replace(deflated, ExplicitVRLittleEndian.encode().ljust(len(deflated), b"\0"))


def _inflated(content: bytes) -> bytes:
    file = BytesIO(content)
    read_preamble(file, force=True)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return content
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    body = unpacker.decompress(content[file.tell() :], MAX_FILE_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError("unpacks to more than an image of one slice")
    return content[: file.tell()] + body


def _transfer_syntax(dataset: FileDataset) -> UID:
    named = dataset.file_meta.get("TransferSyntaxUID")
    if named:
        return UID(named)
    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _at_pixels(tag: BaseTag, kind: str | None, length: int) -> bool:
    return tag == _PIXELS


def _not_an_image(dataset: Dataset, stored: bytes) -> str:
    """What the file holds where that is no 2-D MR magnitude image; empty where it may be one."""
    rows, columns = integer(dataset, _ROWS), integer(dataset, _COLUMNS)
    modality, component = text(dataset, _MODALITY), _component(dataset)
    if not (rows and columns):
        return "DICOM file without an image"
    if modality != "MR":
        return f"image of modality {modality!r}"[:40]
    if (finite(text(dataset, _FRAMES)) or 1) != 1:
        return "multi-frame image (convert it to NIfTI)"
    if "LOCALIZER" in _image_type(dataset):
        return "localiser"
    if component:
        return f"{component} image"
    if integer(dataset, _SAMPLES) != 1:
        return "colour image"
    if max(rows, columns) > MAX_AXIS:
        return f"image of {rows} x {columns} pixels"
    return "" if _holds_its_pixels(dataset, stored) else _DAMAGED


def _holds_its_pixels(dataset: Dataset, stored: bytes) -> bool:
    """Whether the pixels' element, with which `stored` begins, ends in the file and is long enough."""
    implicit, little_endian = dataset.original_encoding
    head = 8 if implicit else 12
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        return len(stored) > head
    claimed = int.from_bytes(stored[head - 4 : head], "little" if little_endian else "big")
    rows, columns, bits = (integer(dataset, tag) or 0 for tag in (_ROWS, _COLUMNS, _BITS))
    return rows * columns * bits <= 8 * claimed <= 8 * (len(stored) - head)


def _image_type(dataset: Dataset) -> tuple[str, ...]:
    return tuple(value.strip().upper() for value in text(dataset, _IMAGE_TYPE).split("\\"))


def _component(dataset: Dataset) -> str:
    """What the image shows of the complex signal where that is not its magnitude."""
    stated = (*_image_type(dataset)[2:], text(dataset, _COMPONENT).upper())
    return next((_COMPONENTS[value] for value in stated if value in _COMPONENTS), "")


def _image(path: Path, dataset: Dataset, stored: bytes) -> DicomImage | str:
    position_mm, directions, spacing_mm = (
        _numbers(text(dataset, tag)) for tag in (_POSITION, _DIRECTIONS, _PIXEL_SPACING)
    )
    if (len(position_mm), len(directions), len(spacing_mm)) != (3, 6, 2):
        return "image without a position"
    row, column = directions[:3], directions[3:]
    if not np.allclose([np.dot(row, row), np.dot(column, column), np.dot(row, column)], [1, 1, 0], atol=0.01):
        return "image whose directions are not at right angles"
    return DicomImage(
        path=path,
        size=(integer(dataset, _COLUMNS) or 0, integer(dataset, _ROWS) or 0),
        spacing_mm=(spacing_mm[1], spacing_mm[0]),  # DICOM gives the distance between rows first
        row=(row[0], row[1], row[2]),
        column=(column[0], column[1], column[2]),
        position_mm=(position_mm[0], position_mm[1], position_mm[2]),
        image_type=_image_type(dataset),
        series=text(dataset, _SERIES),
        number=finite(text(dataset, _NUMBER)),
        trigger_ms=finite(text(dataset, _TRIGGER_MS)),
        stated_gap_mm=finite(text(dataset, _SLICE_GAP_MM)) or finite(text(dataset, _THICKNESS_MM)),
        maker=text(dataset, _MAKER),
        digest=hashlib.blake2b(stored, digest_size=16).digest(),
    )


def text(dataset: Dataset, tag: int) -> str:
    """The element's content as it stands in the file, empty where it is absent or no text."""
    return _raw(dataset, tag).decode("latin-1").strip("\0 ")


def integer(dataset: Dataset, tag: int) -> int | None:
    """The element's content as one short unsigned number."""
    raw = _raw(dataset, tag)
    return int.from_bytes(raw, "little" if dataset.original_encoding[1] else "big") if len(raw) == 2 else None


def _raw(dataset: Dataset, tag: int) -> bytes:
    element = dataset.get_item(tag) if tag in dataset else None
    return element.value if element is not None and isinstance(element.value, bytes) else b""


def _numbers(values: str) -> list[float]:
    """The numbers of an element of several values; [] when one is not finite."""
    numbers = [finite(part) for part in values.split("\\")]
    return [number for number in numbers if number is not None] if None not in numbers else []


def finite(value: str) -> float | None:
    """The value as a number, None where it is none or not finite."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
