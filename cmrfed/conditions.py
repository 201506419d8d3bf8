"""What an image is known by, and a generator may be told: one schema of named conditions.

Every condition has an UNKNOWN of its own: whoever does not know says so, and a generator that learnt with some values
hidden (`dropout`) can be asked without them. To add one is a line in `CONDITIONS`; how it enters a network follows from
its kind (`cmrfed.generators.encoders`).

A patient's conditions are the patient's data like the image: they enter losses at the site, and leave it in no way.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

UNKNOWN = "unknown"
VENDORS = ("Siemens", "Philips", "GE", "Canon", UNKNOWN)
"""Vendors by canonical name. UNKNOWN stands for the generic (public) style and for dropped conditions."""
PHASES = ("ED", "ES", UNKNOWN)
"""End diastole and end systole."""
PATHOLOGIES = (
    "NOR", "DCM", "HCM", "MINF", "RV", "ARV", "HHD", "AHS", "IHD", "LVNC", "LV", "ARR", "FALL", "CIA", "TRI", UNKNOWN,
)  # fmt: skip
"""Normal, and the diagnoses of ACDC, M&Ms and M&Ms-2 in their own short forms."""
SEXES = ("F", "M", UNKNOWN)
SEQUENCES = ("bSSFP", "GRE", "LGE", "T2", UNKNOWN)


@dataclass(frozen=True)
class Condition(ABC):
    """A named condition. `dropout`: the share of training rows in which it alone is hidden."""

    name: str
    meaning: str
    dropout: float = field(default=0.0, kw_only=True)

    @property
    @abstractmethod
    def dtype(self) -> np.dtype:
        """Of a column."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...] | None:
        """Of one row of a column; None for an image's own grid."""

    @property
    @abstractmethod
    def unknown(self) -> float | int:
        """What stands for UNKNOWN, in every entry of a row."""

    @abstractmethod
    def read(self, value: Any) -> float | int | np.ndarray:
        """A value as a row holds it; what cannot be one, and None, is UNKNOWN."""

    @abstractmethod
    def refuse_wild(self, column: np.ndarray) -> None:
        """Raise ValueError where a column holds what no value can be."""

    def column(self, values: Iterable[Any]) -> np.ndarray:
        """A column of these values."""
        rows = [np.broadcast_to(np.asarray(self.read(value), self.dtype), self.shape or ()) for value in values]
        return np.stack(rows) if rows else self.unknown_column(0)

    def unknown_column(self, rows: int) -> np.ndarray:
        """Nothing known of so many rows."""
        return np.full((rows, *(self.shape or ())), self.unknown, self.dtype)


@dataclass(frozen=True)
class Categorical(Condition):
    """One of some values, of which UNKNOWN is the last. A row is an index into them."""

    values: tuple[str, ...]

    dtype = np.dtype(np.int64)
    shape = ()

    @property
    def unknown(self) -> int:
        return len(self.values) - 1

    def read(self, value: Any) -> int:
        return self.values.index(value) if value in self.values else self.unknown

    def refuse_wild(self, column: np.ndarray) -> None:
        _refuse_outside(self.name, column, 0, self.unknown)


@dataclass(frozen=True)
class Scalar(Condition):
    """A number with its unit, and the range that a network is told of; NaN where it is not known."""

    unit: str
    low: float
    high: float

    dtype = np.dtype(np.float32)
    shape = ()
    unknown = math.nan

    def read(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return math.nan
        return number if self.low <= number <= self.high else math.nan

    def refuse_wild(self, column: np.ndarray) -> None:
        _refuse_outside(self.name, column[~np.isnan(column)], self.low, self.high)


@dataclass(frozen=True)
class Vector(Condition):
    """A code of so many numbers; NaN where it is not known."""

    size: int

    dtype = np.dtype(np.float32)
    unknown = math.nan

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def read(self, value: Any) -> np.ndarray:
        return np.full(self.size, math.nan, np.float32) if value is None else np.asarray(value, np.float32)

    def refuse_wild(self, column: np.ndarray) -> None:
        if np.isinf(column).any():
            raise ValueError(f"{self.name} is infinite")


@dataclass(frozen=True)
class Dense(Condition):
    """A value at every pixel of the image's grid: labels, or intensities in [-1, 1] that are NaN where unknown."""

    labels: bool

    shape = None

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8 if self.labels else np.float32)

    @property
    def unknown(self) -> float | int:
        return UNLABELLED if self.labels else math.nan

    def read(self, value: Any) -> np.ndarray:
        return np.asarray(value, self.dtype)

    def refuse_wild(self, column: np.ndarray) -> None:
        if not self.labels:
            _refuse_outside(self.name, column[~np.isnan(column)], -1, 1)


UNLABELLED = 255
"""What nobody has labelled: any structure may be there. Not background, which says that none is."""


def _refuse_outside(name: str, values: np.ndarray, low: float | int, high: float | int) -> None:
    if ((values < low) | (values > high)).any():
        raise ValueError(f"{name} is not all within {low:g}..{high:g}")


CONDITIONS: dict[str, Condition] = {
    one.name: one
    for one in (
        Dense("mask", "labels of the heart, and classes of tissue where they are asked for", labels=True),
        Categorical("vendor", "who made the scanner", VENDORS),
        Categorical("phase", "phase of the cardiac cycle", PHASES),
        Categorical("pathology", "diagnosis, as the data set has it", PATHOLOGIES, dropout=0.1),
        Categorical("sex", "the patient's sex", SEXES, dropout=0.1),
        Categorical("sequence", "pulse sequence", SEQUENCES, dropout=0.1),
        Scalar("slice_level", "level along the long axis, 0 the apex and 1 the base", "1", 0.0, 1.0, dropout=0.1),
        Scalar("field_strength", "of the scanner", "T", 0.1, 10.5, dropout=0.1),
        Scalar("age", "the patient's age", "years", 0.0, 120.0, dropout=0.1),
        Scalar("bmi", "body mass index", "kg/m2", 8.0, 100.0, dropout=0.1),
        Scalar("edv", "the left ventricle's volume at end diastole", "ml", 0.0, 800.0, dropout=0.1),
        Scalar("esv", "the left ventricle's volume at end systole", "ml", 0.0, 800.0, dropout=0.1),
        Scalar("ejection_fraction", "(EDV - ESV) / EDV of the left ventricle", "%", 0.0, 100.0, dropout=0.1),
        Scalar("wall_thickness", "mean thickness of the left ventricle's wall", "mm", 0.0, 50.0, dropout=0.1),
        Scalar("severity", "of the disease, 0 none and 1 the severest", "1", 0.0, 1.0, dropout=0.1),
        Dense("source_image", "another image of the same slice, to start from", labels=False, dropout=0.1),
        Vector("style", "a point in the space of looks", 16, dropout=0.1),
    )
}
"""All conditions by name."""


def column_names() -> tuple[str, ...]:
    """The conditions with a row of numbers for every slice, whatever its grid."""
    return tuple(name for name, one in CONDITIONS.items() if one.shape is not None)


def columns(rows: int, known: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A column of each of `column_names`: of what is known, a value for all rows or an array with one for each; the
    others UNKNOWN. Raises KeyError for a name that is no column's."""
    if strangers := sorted(known.keys() - set(column_names())):
        raise KeyError(f"{strangers[0]} is no condition of a whole slice")
    found = {name: CONDITIONS[name].unknown_column(rows) for name in column_names()}
    for name, value in known.items():
        condition, many = CONDITIONS[name], isinstance(value, np.ndarray)
        found[name][:] = condition.column(value) if many else condition.read(value)
    return found
