"""What an image is known by, and a generator may be told: one schema of named conditions.

Every condition has an UNKNOWN of its own: whoever does not know says so, and a generator that learnt with some values
hidden (`dropout`) can be asked without them. To add one is a line in `CONDITIONS`; how it enters a network follows from
its kind (`cmrfed.generators.encoders`).

A patient's conditions are the patient's data like the image: they enter losses at the site, and leave it in no way.
"""

import math
from abc import ABC, abstractmethod
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

UNLABELLED = 255
"""What nobody has labelled: any structure may be there. Not background, which says that none is."""

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
STYLE_NUMBERS = 28
"""How many numbers `cmrfed.phantom.styles` places a scan's settings by."""


@dataclass(frozen=True)
class Condition(ABC):
    """A named condition. `dropout`: the share of training rows in which it alone is hidden.

    dtype: NumPy's name for the numbers of a column. shape: of one row of a column; None for an image's own grid.
    unknown: what stands for UNKNOWN, in every entry of a row. limits: the least and the largest that a known entry can
    be; None where anything finite may be.
    """

    name: str
    meaning: str
    dropout: float = field(default=0.0, kw_only=True)

    dtype: ClassVar[str] = "float32"

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...] | None: ...

    @property
    def unknown(self) -> float | int:
        return math.nan

    @property
    def limits(self) -> tuple[float, float] | None:
        return None

    def read(self, value: Any) -> Any:
        """A value as a row holds it, a number or as many as `shape` says; what cannot be one, and None, is UNKNOWN."""
        return self.unknown if value is None else value


@dataclass(frozen=True)
class Categorical(Condition):
    """One of some values, of which UNKNOWN is the last. A row is an index into them."""

    values: tuple[str, ...]

    dtype = "int64"
    shape = ()

    @property
    def unknown(self) -> int:
        return len(self.values) - 1

    @property
    def limits(self) -> tuple[float, float]:
        return 0.0, float(self.unknown)

    def read(self, value: Any) -> int:
        return self.values.index(value) if value in self.values else self.unknown


@dataclass(frozen=True)
class Scalar(Condition):
    """A number with its unit, and the range that a network is told of; NaN where it is not known."""

    unit: str
    low: float
    high: float

    shape = ()

    @property
    def limits(self) -> tuple[float, float]:
        return self.low, self.high

    def read(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return math.nan
        return number if self.low <= number <= self.high else math.nan


@dataclass(frozen=True)
class Vector(Condition):
    """A point of so many numbers, each in [0, 1]; NaN where it is not known."""

    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def limits(self) -> tuple[float, float]:
        return 0.0, 1.0

    def read(self, value: Any) -> Any:
        try:
            numbers = [float(number) for number in value]
        except (TypeError, ValueError):
            return math.nan
        return numbers if len(numbers) == self.size and all(0 <= one <= 1 for one in numbers) else math.nan


@dataclass(frozen=True)
class Dense(Condition):
    """A value at every pixel of the image's grid: labels, or intensities in [-1, 1] that are NaN where unknown."""

    labels: bool

    shape = None

    @property
    def dtype(self) -> str:  # type: ignore[override]  # of a column, where it is one of a whole image
        return "int64" if self.labels else "float32"

    @property
    def unknown(self) -> float | int:
        return UNLABELLED if self.labels else math.nan


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
        # few images come with their style, so a network must be as good without it
        Vector("style", "a place in the space of looks that physics knows", STYLE_NUMBERS, dropout=0.5),
    )
}
"""All conditions by name."""


STEERING: dict[str, Condition] = {
    one.name: one for one in (Scalar("step", "how far along its path a network is to go at once", "1", 0.0, 1.0),)
}
"""What a family tells its own network beside the conditions that it is told of; no data hold it."""

TOLD: Mapping[str, Condition] = ChainMap(CONDITIONS, STEERING)
"""All that a network may be told."""


def column_names() -> tuple[str, ...]:
    """The conditions with a row of numbers for every slice, whatever its grid."""
    return tuple(name for name, one in CONDITIONS.items() if one.shape is not None)
