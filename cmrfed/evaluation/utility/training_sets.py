"""The sets that segmenters learn from: of every arm, and common to all."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from cmrfed.config import UtilityConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.subject import Subject, Synthetic, thin
from cmrfed.evaluation.utility.metrics import Budget, TrainingSet
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices

CORE = ("real", "synthetic", "mixed")
"""What every network learns; the rest is for the first alone."""

SetKey = tuple[str | None, str]
"""(arm, name) of a training set; the arm is None where the set is common to all."""
Value = TypeVar("Value")
Reasons = dict[str, dict[str, str]]
"""By arm and name of what was asked for: why it is absent."""


def of_arm(values: Mapping[SetKey, Value], arm: str) -> dict[str, Value]:
    """An arm's own values and the common ones, by name."""
    return {name: value for (owner, name), value in values.items() if owner in (None, arm)}


def budget_of(subject: Subject, config: UtilityConfig, backbone: str) -> Budget:
    """What every training set of a comparison gets."""
    return Budget(config.steps, config.seeds, subject.seed, backbone, subject.device, subject.precision)


def training_sets(
    subject: Subject, config: UtilityConfig, bar: ProgressBar
) -> tuple[dict[SetKey, TrainingSet], Reasons]:
    """Every set that is asked for, and of those that cannot be made, why."""
    real, sets, absent = subject.learnt, dict[SetKey, TrainingSet](), Reasons()
    sets[None, "real"] = TrainingSet((real,))
    if config.augmented:
        sets[None, "real_augmented"] = TrainingSet((real,), "strong")
    for arm, made in subject.synthetic.items():
        pool = pool_of(subject, arm, made, max((1.0, *config.ratios)), bar)
        sets[arm, "synthetic"] = TrainingSet((made.learnt,))
        sets[arm, "mixed"] = _mixed(subject, pool, 1.0)
        for ratio in config.ratios:
            name = f"mixed_{ratio:g}x"
            if round(ratio * len(real)) <= sum(map(len, pool)):
                sets[arm, name] = _mixed(subject, pool, ratio)
            else:
                absent.setdefault(arm, {})[name] = f"only {len(made.learnt)} images, and no generator to draw more"
    return sets, absent


def _mixed(subject: Subject, pool: list[Slices], ratio: float) -> TrainingSet:
    """Real slices and `ratio` times as many synthetic ones; whole draws first, the last thinned."""
    wanted, parts = round(ratio * len(subject.learnt)), [subject.learnt]
    for draw in pool:
        if wanted > 0:
            parts.append(thin(draw, wanted, subject.seed))
            wanted -= len(parts[-1])
    return TrainingSet(tuple(parts))


def pool_of(subject: Subject, arm: str, made: Synthetic, ratio: float, bar: ProgressBar) -> list[Slices]:
    """The arm's images, drawn again for the same masks until there are `ratio` times as many as real ones."""
    pool, missing = [made.learnt], round(ratio * len(subject.learnt)) - len(made.learnt)
    if made.generator is None:
        return pool
    while missing > 0:
        again = thin(subject.learnt, missing, subject.seed)
        pool.append(drawn(subject, arm, made, again, subject.seed + len(pool), bar))
        missing -= len(again)
    return pool


def drawn(subject: Subject, arm: str, made: Synthetic, slices: Slices, seed: int, bar: ProgressBar) -> Slices:
    """The arm's images for the masks and conditions of these slices."""
    with bar(f"drawing more, {arm}") as progress:
        return synthesise(made.load(), slices, subject.sampling, seed, str(subject.device), subject.precision, progress)


def with_vendor(slices: Slices, vendor: int) -> Slices:
    """The same slices under another vendor's condition, by index into `VENDORS`."""
    conditions = {**slices.conditions, "vendor": np.full(len(slices), vendor)}
    return replace(slices, conditions=conditions)


def where(slices: Slices, field: str, value: str, equal: bool = True) -> Slices:
    """The slices of patients whose record has this value in a field, or of all others."""
    kept = np.array([(getattr(record, field) == value) is equal for record in slices.records], dtype=bool)
    return slices.take(np.flatnonzero(kept[slices.patients]))
