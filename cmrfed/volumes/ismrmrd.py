"""An ISMRMRD raw-data file as bytes that were measured before they are read: header, acquisition heads, samples.

Inati et al., "ISMRM Raw data format: A proposed standard for MRI raw datasets", Magnetic Resonance in Medicine 77(1),
2017. `dataset/xml` is one text, and every row of `dataset/data` one line of k-space: a head of fixed size, and two
sequences, trajectory and samples. In the file a sequence is its length in four bytes and where it lies in the heap
(HDF5 File Format Specification, VIII.B). HDF5 reserves what a sequence claims before it looks whether it is there, and
a flipped bit claims gigabytes, so rows are read here without HDF5's help until their lengths are known to be true.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex64, Integer, Shaped

from cmrfed.config import UserError
from cmrfed.volumes.limits import one_line

MAX_LINES = 2_000_000
MAX_HEADER_BYTES = 2**20
MAX_TRAJECTORY = 2**16
"""Longest list of trajectory points of a line, which Cartesian data has none of."""

Heads = Shaped[np.ndarray, " acquisition"]
"""The fixed part of every acquisition, by ISMRMRD's field names."""

_DAMAGED = (OSError, KeyError, ValueError, RuntimeError)


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """The file, opened with h5py. What goes wrong inside becomes a UserError that names the file."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path}: raw data is read with h5py; install it with pip install 'cmrfed[ocmr]'") from None
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the data folder and that the download is complete")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except _DAMAGED as error:
        raise UserError(f"{path}: not a readable ISMRMRD file ({one_line(error)}); download it again") from None


def read_header(path: Path, file: Any) -> bytes:
    """The XML text."""
    text = _dataset(path, file, "xml")
    kind = text.id.get_type()
    if text.size != 1 or kind.get_class() != 3:  # H5T_STRING
        raise UserError(f"{path}: dataset/xml is no text; download the file again")
    claimed = _rows(path, text, np.dtype("<u4"))[0] if kind.is_variable_str() else kind.get_size()
    if claimed > MAX_HEADER_BYTES:
        raise UserError(f"{path}: its XML header is larger than 1 MiB; download the file again")
    header = text[0] if text.shape else text[()]
    return header if isinstance(header, bytes) else str(header).encode()


def read_heads(path: Path, file: Any) -> Heads:
    """The head of every acquisition whose sequences are as long as it says; others are refused."""
    data = _dataset(path, file, "data")
    if len(data) > MAX_LINES:
        raise UserError(f"{path}: holds {len(data)} lines; at most {MAX_LINES} are read")
    kind = data.id.get_type()
    names = ["head", "traj", "data"]
    offsets = [kind.get_member_offset(kind.get_member_index(name.encode())) for name in names]
    formats = [data.dtype["head"], "<u4", "<u4"]
    layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": kind.get_size()})
    rows = _rows(path, data, layout)
    expected = 2 * rows["head"]["active_channels"].astype(np.int64) * rows["head"]["number_of_samples"]
    if (rows["data"] != expected).any() or (rows["traj"] > MAX_TRAJECTORY).any():
        raise UserError(f"{path}: lines are not as long as they say; the file is damaged, download it again")
    heads: Heads = rows["head"]
    return heads


def read_samples(
    file: Any, heads: Heads, lines: Integer[np.ndarray, " line"]
) -> Iterator[Complex64[np.ndarray, "coil sample"]]:
    """The samples of some acquisitions, whose lengths `read_heads` has checked."""
    sequences = file["dataset"]["data"][lines]["data"]
    for line, floats in zip(lines.tolist(), sequences, strict=True):
        shape = int(heads["active_channels"][line]), int(heads["number_of_samples"][line])
        yield floats.view(np.complex64).reshape(shape)


def _dataset(path: Path, file: Any, name: str) -> Any:
    """A data set of the file, whose contents must be in the file: HDF5 can point at any other."""
    import h5py

    links = [file.get("dataset", getlink=True), file["dataset"].get(name, getlink=True)]
    found = file["dataset"][name] if all(isinstance(link, h5py.HardLink) for link in links) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual or found.ndim > 1:
        raise UserError(f"{path}: dataset/{name} is no list held in the file itself; download it again")
    return found


def _rows(path: Path, dataset: Any, layout: np.dtype) -> Shaped[np.ndarray, " row"]:
    """The rows' own bytes, sequences as references, whether they lie together or in chunks."""
    count, stride = int(dataset.size), dataset.id.get_type().get_size()
    if dataset.id.get_create_plist().get_nfilters():
        raise UserError(f"{path}: is compressed, which ISMRMRD files are not; write it again without compression")
    if count * stride > path.stat().st_size:
        raise UserError(f"{path}: is too short for the {count} lines it claims; download it again")
    if dataset.chunks is None:
        with path.open("rb") as file:
            file.seek(dataset.id.get_offset())
            content = file.read(count * stride)
    else:
        content = b"".join(_chunks(path, dataset, count, stride))[: count * stride]
    return np.ndarray((count,), layout, content, strides=(stride,))


def _chunks(path: Path, dataset: Any, count: int, stride: int) -> Iterator[bytes]:
    (wide,) = dataset.chunks
    for first in range(0, count, wide):
        if dataset.id.get_chunk_info_by_coord((first,)).size != wide * stride:
            raise UserError(f"{path}: its blocks of lines are damaged; download it again")
        yield dataset.id.read_direct_chunk((first,))[1]
