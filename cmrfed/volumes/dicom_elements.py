"""Whether a DICOM file's elements fit in the file, before GDCM believes their lengths and reserves memory for them.

A flipped bit in one length makes GDCM ask for gigabytes. Only tags, types and lengths are read here, by the encodings
of DICOM PS3.5, section 7; what is in the elements is left to GDCM.
"""

import struct
from io import BufferedReader
from pathlib import Path

MAX_FILE_BYTES = 64 * 2**20
"""Largest file of a single slice that is read: a thousand pixels a side take two megabytes."""
MAX_ELEMENTS = 100_000

_PREAMBLE_BYTES = 132
_ITEM_GROUP, _SEQUENCE_END, _PIXELS, _TRANSFER_SYNTAX = 0xFFFE, (0xFFFE, 0xE0DD), (0x7FE0, 0x0010), (0x0002, 0x0010)
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
_LONG_TYPES = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT_TYPES = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH"}
_SHORT_TYPES |= {b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
_UNDEFINED = 0xFFFFFFFF


def is_dicom(path: Path) -> bool:
    """Whether the file carries DICOM's mark."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE_BYTES)[128:] == b"DICM"
    except OSError:
        return False


def elements_fit(path: Path) -> bool:
    """Whether every element, sequences included, ends where the file does or before; False where it cannot be told."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(_PREAMBLE_BYTES)
            return size <= MAX_FILE_BYTES and _walk(file, size)
    except (OSError, ValueError, struct.error):
        return False


def _walk(file: BufferedReader, size: int) -> bool:
    """Go from element to element. Sequences and items are entered, not skipped, so that nesting needs no recursion."""
    syntax, in_fragments = b"", False
    for _ in range(MAX_ELEMENTS):
        if file.tell() == size:
            return True
        meta = file.peek(2)[:2] == b"\x02\x00"
        order = ">" if syntax == _BIG_ENDIAN and not meta else "<"
        tag = struct.unpack(order + "HH", file.read(4))
        kind, length = _kind_and_length(file, order, tag[0] != _ITEM_GROUP and (meta or syntax != _IMPLICIT))
        if length == _UNDEFINED:
            if kind == b"UN":  # written by tools that knew no types: GDCM reads these by other rules
                return True
            in_fragments = tag == _PIXELS
        elif file.tell() + length > size:
            return False
        elif tag == _TRANSFER_SYNTAX:
            syntax = file.read(length).rstrip(b"\0 ")
            if syntax == _DEFLATED:
                return False
        elif tag == _SEQUENCE_END:
            in_fragments = False
        elif kind != b"SQ" and (tag[0] != _ITEM_GROUP or in_fragments):
            file.seek(length, 1)
    return False


def _kind_and_length(file: BufferedReader, order: str, explicit: bool) -> tuple[bytes, int]:
    """The element's type (empty where the encoding leaves it out) and the length of its content in bytes."""
    if not explicit:
        return b"", struct.unpack(order + "I", file.read(4))[0]
    kind = file.read(2)
    if kind in _SHORT_TYPES:
        return kind, struct.unpack(order + "H", file.read(2))[0]
    if kind not in _LONG_TYPES:
        raise ValueError(f"{kind!r} is no type of an element")
    file.read(2)
    return kind, struct.unpack(order + "I", file.read(4))[0]
