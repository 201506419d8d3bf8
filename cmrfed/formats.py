"""Numbers as reports and pages print them."""

import math
from collections.abc import Sequence

MISSING = "–"
UNBROKEN = "\N{NO-BREAK SPACE}"


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; a dash where there is none."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def interval(limits: Sequence[float] | None, digits: int = 2) -> str:
    """[low, high], never broken over two lines; nothing where there is none."""
    return f"[{limits[0]:.{digits}f},{UNBROKEN}{limits[1]:.{digits}f}]" if limits else ""


def with_interval(value: float | None, limits: Sequence[float] | None, digits: int = 2) -> str:
    """A number and its 95 % interval."""
    return f"{number(value, digits)} {interval(limits, digits)}".rstrip()


def epsilon(value: float | None) -> str:
    """Epsilon to two decimals, always rounded up: a report may overstate what was spent and never understate it."""
    return MISSING if value is None else f"{up(value, 2):.2f}"


def up(value: float, digits: int) -> float:
    """Rounded up to so many decimals; a hair of floating point above a decimal does not count."""
    return math.ceil(value * 10**digits - 1e-9) / 10**digits


def percent(fraction: float, digits: int = 0) -> str:
    """A share of one, in percent; below the last digit shown, it says so."""
    least = 10.0 ** -(2 + digits)
    return f"< {least:.{digits}%}" if 0 < fraction < least / 2 else f"{fraction:.{digits}%}"


def factor(value: float) -> str:
    """How many times as likely: three digits, large ones with separators."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


def seconds(value: float | None) -> str:
    """A time in the unit that people would say."""
    if value is None:
        return MISSING
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def overlap(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
    """Whether two intervals share a point, as one that is not known may."""
    return not (one and other) or (one[0] <= other[1] and other[0] <= one[1])
