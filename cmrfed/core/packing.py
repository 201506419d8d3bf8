"""Values by name as bytes, by MessagePack, as they travel between a server, a node and a hospital's door.

MessagePack holds numbers, texts, bytes and maps, and no objects: reading it runs nobody's code. What is read is bounded
in its bytes, its depth and its entries.
"""

import io
from collections.abc import Mapping

import msgpack
import numpy as np

_MOST_ENTRIES = 100_000
"""Of a map: a network has some hundred weights."""


def pack(values: Mapping[str, object]) -> bytes:
    """As bytes.

    >>> unpack(pack({"site": "north", "loss": 0.25}))
    {'site': 'north', 'loss': 0.25}
    """
    return bytes(msgpack.packb(dict(values)))


def unpack(data: bytes) -> dict[str, object]:
    """What `pack` wrote. Raises ValueError for anything else."""
    try:
        values = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_map_len=_MOST_ENTRIES,
            max_array_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError) as error:  # as msgpack says what is malformed, too deep or too large
        raise ValueError(type(error).__name__) from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ValueError("no map")
    return values


def unpack_arrays(data: bytes) -> dict[str, bytes]:
    """Arrays in the .npy format by name, undecoded. Raises ValueError where there is anything else."""
    values = unpack(data)
    arrays = {name: one for name, one in values.items() if isinstance(one, bytes)}
    if len(arrays) < len(values):
        raise ValueError("no array")
    return arrays


def npy(array: np.ndarray) -> bytes:
    """In the .npy format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
