"""A statistic of sets of patients' slices -> a score: the value, its interval, and the floor that real patients set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float, Int

from cmrfed.core.progress import Progress
from cmrfed.evaluation.fidelity.metrics.density_coverage import density_coverage
from cmrfed.evaluation.fidelity.metrics.frechet import frechet_distance
from cmrfed.evaluation.fidelity.metrics.kernel import kernel_distance
from cmrfed.evaluation.fidelity.metrics.precision_recall import precision_recall

Features = Float[torch.Tensor, "image feature"]
HALVES = 40
"""Random halves behind an interval: its width is then known to about 11 %."""


class Score(TypedDict):
    """A number, its 95 % interval, and the same of real images in the place of the made ones; null where unknown."""

    value: float
    ci95: list[float] | None
    floor: float | None
    floor_ci95: list[float] | None


ByArm = dict[str, dict[str, Score]]
"""Scores by arm and name."""


@dataclass(frozen=True)
class PatientFeatures:
    """Features of images, and which patient each image is of (for a synthetic image, the patient whose mask it has)."""

    features: Features
    patients: Int[torch.Tensor, " image"]

    def __len__(self) -> int:
        return len(self.patients)

    def take(self, images: Int[np.ndarray, " kept"]) -> "PatientFeatures":
        """Only the images at these indices."""
        kept = torch.from_numpy(images)
        return PatientFeatures(self.features[kept], self.patients[kept])

    def thin(self, images: int, seed: int) -> "PatientFeatures":
        """At most so many images, drawn at random but kept in order."""
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:images]))


def in_units_of(real: PatientFeatures, sets: Mapping[str, PatientFeatures]) -> dict[str, PatientFeatures]:
    """Every set's features in standard deviations of real ones about their mean; those that do not vary become 0."""
    mean, spread = real.features.double().mean(0), real.features.double().std(0, correction=0)
    scale = torch.where(spread > 1e-9 * mean.abs(), 1 / spread.clamp(min=1e-300), 0.0)
    return {
        name: PatientFeatures((side.features.double() - mean) * scale, side.patients) for name, side in sets.items()
    }


Statistics = Callable[..., Mapping[str, float]]
"""Numbers by name from the features of one or more sets, the made images first; NaN where a number cannot be had."""
WithInterval = tuple[float, list[float] | None]


def set_distances(made: Float[torch.Tensor, "n feature"], real: Float[torch.Tensor, "m feature"]) -> dict[str, float]:
    """Every distance or agreement between two sets of features, by the name it has in a report; NaN where a set is too
    small for it."""
    if min(len(made), len(real)) < 2:
        return dict.fromkeys(("fid", "kid", "precision", "recall", "density", "coverage"), float("nan"))
    precision, recall = precision_recall(made, real)
    density, coverage = density_coverage(made, real)
    return {
        "fid": frechet_distance(made, real),
        "kid": kernel_distance(made, real),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }


def scores_beside_floor(
    statistics: Statistics,
    made: Mapping[str, PatientFeatures],
    reference: PatientFeatures,
    *fixed: PatientFeatures,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Score]]:
    """statistics(made, *fixed) by arm and name, each beside the floor, statistics(reference, *fixed).

    made: by arm. reference: other real patients, in the place of the made images. Every set is thinned to the number of
    images of the smallest, so that values, floors and arms are of one sample size. An interval is the estimate +- 1.96
    standard errors by the delete-half jackknife over patients (Shao & Wu, Annals of Statistics 1989): unlike a
    bootstrap it repeats no image, which would bias every distance upwards. A bias at this sample size is in value and
    floor alike, and not in the interval. The same seed gives the same numbers; names without a finite value are left
    out. Raises ValueError when a set has fewer than two patients.
    """
    images = min(map(len, (*made.values(), reference, *fixed)))
    others = [side.thin(images, seed) for side in fixed]
    report = _counted(progress, (HALVES + 1) * (1 + len(made)))
    floor = estimates(statistics, reference.thin(images, seed), *others, seed=seed, done=report)
    found = {
        arm: estimates(statistics, side.thin(images, seed), *others, seed=seed, done=report)
        for arm, side in made.items()
    }
    return {arm: {name: _score(value, floor.get(name)) for name, value in own.items()} for arm, own in found.items()}


def estimates(
    statistics: Statistics, *sides: PatientFeatures, seed: int = 0, done: Callable[[], None] = lambda: None
) -> dict[str, WithInterval]:
    """Every finite value of statistics(*sides), with its interval; `done` is called after each evaluation."""
    values = statistics(*(side.features for side in sides))
    done()
    halves = []
    for half in _halves(sides, np.random.default_rng(seed)):
        halves.append(statistics(*half))
        done()
    return {
        name: (value, _interval(value, [half[name] for half in halves]))
        for name, value in values.items()
        if np.isfinite(value)
    }


def fidelity_scores(
    reference: PatientFeatures, test: PatientFeatures, synthetic: PatientFeatures, seed: int = 0
) -> dict[str, float | int | list[float] | None]:
    """FID, KID and the like of synthetic images against `test`, as one flat table beside the floor of `reference`.

    Returns for every name M of `set_distances`: "M", "M_ci95" ([low, high]), and the same of "M_real"; and "images".
    See `scores_beside_floor`, also for what is raised.
    """
    found = scores_beside_floor(set_distances, {"": synthetic}, reference, test, seed=seed)[""]
    return headline(found) | {"images": min(map(len, (reference, test, synthetic)))}


def headline(scores: Mapping[str, Score]) -> dict[str, float | int | list[float] | None]:
    """Scores as flat keys: M, M_ci95, M_real and M_real_ci95."""
    flat: dict[str, float | int | list[float] | None] = {}
    for name, score in scores.items():
        flat |= {name: score["value"], f"{name}_ci95": score["ci95"]}
        flat |= {f"{name}_real": score["floor"], f"{name}_real_ci95": score["floor_ci95"]}
    return flat


def _score(own: WithInterval, floor: WithInterval | None) -> Score:
    lowest, interval = floor if floor else (None, None)
    return Score(value=own[0], ci95=own[1], floor=lowest, floor_ci95=interval)


def _interval(value: float, halves: Sequence[float]) -> list[float] | None:
    """A half of the patients varies about the whole as the whole does about the truth."""
    with np.errstate(over="ignore"):  # the likelihood around perfect copies has no bound
        error = float(np.std(halves, ddof=1))
    return [value - 1.96 * error, value + 1.96 * error] if np.isfinite(error) else None


def _counted(progress: Progress | None, total: int) -> Callable[[], None]:
    """A call after each of `total` pieces of work, as progress."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1
        if progress is not None:
            progress(count, total)

    return one_more


def _halves(sides: Sequence[PatientFeatures], random: np.random.Generator) -> Iterator[list[Features]]:
    """Features of a random half of each side's patients, with equally many images from every side."""
    for _ in range(HALVES):
        kept = [side.take(_half_of_patients(side.patients.numpy(), random)) for side in sides]
        images = min(map(len, kept))
        yield [side.thin(images, int(random.integers(2**31))).features for side in kept]


def _half_of_patients(patients: Int[np.ndarray, " image"], random: np.random.Generator) -> Int[np.ndarray, " kept"]:
    names = np.unique(patients)
    if len(names) < 2:
        raise ValueError(f"an interval over patients needs two or more in each set, found {len(names)}")
    return np.flatnonzero(np.isin(patients, random.choice(names, len(names) // 2, replace=False)))
