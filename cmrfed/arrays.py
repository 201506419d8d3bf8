"""Arrays that are larger than memory: a safetensors file written piece by piece, and read where it lies.

The file is plain safetensors (a JSON header, then the bytes), so that any reader of that format opens it. What is ours
is only that neither side ever holds the whole: pieces are spooled to disk until the shapes are known, and large arrays
are mapped instead of read.
"""

import json
import shutil
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from jaxtyping import Int64
from safetensors import safe_open

from cmrfed.core import atomic
from cmrfed.outputs import private_folder

_NAMES: dict[str, np.dtype] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
_ALIGNMENT = 8
_ROWS_AT_ONCE = 4096


class Rows:
    """Some rows of an array that stays on disk until they are asked for; reads like the array of those rows."""

    def __init__(self, stored: np.memmap, rows: Int64[np.ndarray, " row"]) -> None:
        self.stored, self.rows = stored, rows
        self.shape, self.dtype = (len(rows), *stored.shape[1:]), stored.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self.stored[self.rows[index]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.stored[self.rows], dtype=dtype)


def take_rows(array: np.ndarray | Rows, rows: Int64[np.ndarray, " kept"]) -> np.ndarray | Rows:
    """Those rows of an array, without reading them where it lies on disk."""
    if isinstance(array, Rows):
        return Rows(array.stored, array.rows[rows])
    return Rows(array, rows) if isinstance(array, np.memmap) else array[rows]


class ArraysWriter:
    """Writes named arrays row by row; the file appears whole, on `close`, or not at all, for its owner alone to read.

    Memory does not grow with the number of rows. Every array is given by the dtype and shape of one of its rows.
    """

    def __init__(self, path: Path, rows: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
        self.path, self._rows = path, dict(rows)
        private_folder(path.parent)
        self._spools: dict[str, IO[bytes]] = {name: tempfile.TemporaryFile(dir=path.parent) for name in rows}  # noqa: SIM115

    def add(self, name: str, piece: np.ndarray | Rows) -> None:
        """Append rows to an array. Raises ValueError when they are of another dtype or shape than the array's."""
        dtype, shape = self._rows[name]
        if (piece.dtype, piece.shape[1:]) != (dtype, shape):
            raise ValueError(f"{name}: rows of {piece.shape[1:]} {piece.dtype} do not fit {shape} {dtype}")
        for start in range(0, len(piece), _ROWS_AT_ONCE):
            self._spools[name].write(np.ascontiguousarray(piece[start : start + _ROWS_AT_ONCE]).tobytes())

    def close(self, metadata: Mapping[str, str]) -> None:
        """Put header and arrays together and publish the file, with these texts in its header."""
        try:
            with atomic.replacing(self.path, atomic.PRIVATE) as draft, draft.open("wb") as file:
                file.write(self._header(metadata))
                for spool in self._spools.values():
                    spool.seek(0)
                    shutil.copyfileobj(spool, file, 1 << 20)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Forget what was written but not published."""
        for spool in self._spools.values():
            spool.close()

    def __enter__(self) -> "ArraysWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        """Eight bytes of length, then JSON padded with spaces so that the arrays begin aligned."""
        names = {dtype: name for name, dtype in _NAMES.items()}
        header: dict[str, Any] = {"__metadata__": dict(metadata)}
        start = 0
        for array, (dtype, shape) in self._rows.items():
            end = start + self._spools[array].tell()
            rows = (end - start) // (dtype.itemsize * int(np.prod(shape)))
            header[array] = {"dtype": names[dtype], "shape": [rows, *shape], "data_offsets": [start, end]}
            start = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        return struct.pack("<Q", len(text)) + text


def map_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays of a safetensors file, mapped read-only, and its header's texts.

    Raises SafetensorError, OSError, KeyError or ValueError when the file is damaged, cut short, or something else.
    """
    with safe_open(path, framework="numpy") as file:  # checks that header and length agree
        metadata, names = dict(file.metadata() or {}), list(file.keys())
    with path.open("rb") as raw:
        (length,) = struct.unpack("<Q", raw.read(8))
        header = json.loads(raw.read(length))
    return {name: _map(path, header[name], 8 + length) for name in names}, metadata


def _map(path: Path, entry: Mapping[str, Any], data: int) -> np.ndarray:
    dtype, shape = _NAMES[entry["dtype"]], tuple(entry["shape"])
    if not all(shape):
        return np.empty(shape, dtype)  # nothing to map
    return np.memmap(path, dtype=dtype, mode="r", offset=data + entry["data_offsets"][0], shape=shape)
