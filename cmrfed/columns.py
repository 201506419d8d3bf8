"""Conditions as arrays: a column holds a row of numbers for every slice (`cmrfed.conditions` says what they mean)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cmrfed.conditions import CONDITIONS, column_names


def columns(rows: int, known: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A column of each of `column_names`: of what is known, a value for all rows or an array with one for each; the
    others UNKNOWN. Raises KeyError for a name that is no column's."""
    if strangers := sorted(known.keys() - set(column_names())):
        raise KeyError(f"{strangers[0]} is no condition of a whole slice")
    found = {name: unknown_column(name, rows) for name in column_names()}
    for name, value in known.items():
        found[name][:] = _read(name, value if isinstance(value, np.ndarray) else [value])
    return found


def unknown_column(name: str, rows: int) -> np.ndarray:
    """Nothing known of so many rows."""
    condition = CONDITIONS[name]
    return np.full((rows, *(condition.shape or ())), condition.unknown, condition.dtype)


def _read(name: str, values: Iterable[Any]) -> np.ndarray:
    condition = CONDITIONS[name]
    rows = [
        np.broadcast_to(np.asarray(condition.read(value), condition.dtype), condition.shape or ()) for value in values
    ]
    return np.stack(rows) if rows else unknown_column(name, 0)


def refuse_wild(name: str, column: np.ndarray) -> None:
    """Raise ValueError where a column holds what no value can be."""
    limits, known = CONDITIONS[name].limits, column[~np.isnan(column)]
    if limits is None:
        if np.isinf(known).any():
            raise ValueError(f"{name} is infinite")
    elif ((known < limits[0]) | (known > limits[1])).any():
        raise ValueError(f"{name} is not all within {limits[0]:g}..{limits[1]:g}")
