"""The scores of a sweep put together: what each arm's images are worth, over patients and over noise.

An arm was trained several times, and what came out each time is one draw of its noise. Its interval is a bootstrap's
over both: patients are drawn with replacement, and so are the arm's runs; all arms share the patients that are drawn,
so that a difference between two is paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.schema import Estimate
from cmrfed.statistics import percentile_interval
from cmrfed.sweep.plan import REAL, START
from cmrfed.sweep.work import Scores

Table = Float[np.ndarray, "_ patient"]
"""Dice by run and patient; another arm has the same patients and runs of its own."""


@dataclass(frozen=True)
class Point:
    """An arm. dice: mean over its runs and patients. of_real: over that of real images. over_start: less that of the
    start, which saw nobody's private data. spread: standard deviation of the mean over its runs, None for a single one.
    by_vendor: Dice of each vendor's patients."""

    arm: str
    epsilon: float | None
    spent: float | None
    runs: int
    dice: Estimate
    of_real: float
    over_start: Estimate
    spread: float | None
    by_vendor: dict[str, Estimate]
    kid: float | None
    kid_floor: float | None

    @property
    def better_than_start(self) -> bool:
        """Whether its interval over the start is above zero."""
        return self.over_start.ci95 is not None and self.over_start.ci95[0] > 0


@dataclass(frozen=True)
class Frontier:
    """points: the brackets, then arms by budget. patients: held out, on whom all were tested."""

    points: list[Point]
    patients: int


def frontier(scores: Sequence[Scores], replicates: int = 2000, seed: int = 0) -> Frontier:
    """Arms in the order in which they first come. Raises ValueError unless all were tested on the same patients, and
    the brackets "real" and "start" are there."""
    arms: dict[str, list[Scores]] = {}
    for one in scores:
        arms.setdefault(one.arm, []).append(one)
    patients = sorted(scores[0].dice)
    if any(sorted(one.dice) != patients for one in scores):
        raise ValueError("scores are of different patients")
    tables = {arm: np.array([[one.dice[p] for p in patients] for one in own]) for arm, own in arms.items()}
    vendors = np.array([scores[0].vendors[patient] for patient in patients])
    return Frontier([_point(own, tables, vendors, replicates, seed) for own in arms.values()], len(patients))


def _point(own: list[Scores], tables: dict[str, Table], vendors: np.ndarray, replicates: int, seed: int) -> Point:
    first, table = own[0], tables[own[0].arm]
    kids = [one.kid for one in own if one.kid is not None]
    spent = [one.spent for one in own if one.spent is not None]
    return Point(
        arm=first.arm,
        epsilon=first.epsilon,
        spent=max(spent) if spent else None,
        runs=len(own),
        dice=_estimate(table, None, replicates, seed),
        of_real=float(table.mean() / tables[REAL].mean()),
        over_start=_estimate(table, tables[START], replicates, seed),
        spread=float(table.mean(axis=1).std(ddof=1)) if len(own) > 1 else None,
        by_vendor={
            str(vendor): _estimate(table[:, vendors == vendor], None, replicates, seed) for vendor in np.unique(vendors)
        },
        kid=float(np.mean(kids)) if kids else None,
        kid_floor=first.kid_floor,
    )


def _estimate(table: Table, less: Table | None, replicates: int, seed: int) -> Estimate:
    """The mean, less that of another arm on the same patients; no interval for a single patient."""
    random, (_, patients) = np.random.default_rng(seed), table.shape
    drawn = random.integers(patients, size=(replicates, patients))
    value = table.mean() - (0.0 if less is None else less.mean())
    found = _replicates(table, drawn, random)
    if less is not None:
        found = found - _replicates(less, drawn, random)
    return Estimate(value=float(value), ci95=percentile_interval(found) if patients > 1 else None)


def _replicates(table: Table, drawn: np.ndarray, random: np.random.Generator) -> Float[np.ndarray, " replicate"]:
    """Means over the drawn patients and, for each replicate, over runs that are drawn too."""
    runs = random.integers(len(table), size=(len(drawn), len(table)))
    by_run = table[:, drawn].mean(axis=2)
    return np.take_along_axis(by_run, runs.T, axis=0).mean(axis=0)
