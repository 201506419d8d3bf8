"""The comparison: the same segmenter trained on different sets of slices, tested on the same real patients."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from cmrfed.core.progress import Progress, shifted
from cmrfed.evaluation.utility.metrics.function import MEASURES, CardiacFunction, cardiac_function
from cmrfed.evaluation.utility.metrics.scores import StackScores, mean_scores, stack_scores
from cmrfed.evaluation.utility.metrics.segmenter import predict, train_segmenter
from cmrfed.evaluation.utility.metrics.training_set import Masks, TrainingSet
from cmrfed.slices import Slices

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Budget:
    """What every training set gets: `steps` batches of the backbone's size in each of `seeds` trainings."""

    steps: int
    seeds: int = 1
    seed: int = 0
    backbone: str = "unet"
    device: torch.device | str = "cpu"
    precision: str = "auto"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the segmenters of one training set, one a seed, made of the tested slices."""

    tested: Slices
    masks: tuple[Masks, ...]
    scores: StackScores

    @classmethod
    def of(cls, tested: Slices, masks: tuple[Masks, ...]) -> "Outcome":
        """Score the masks; a stack's scores are averaged over seeds, so that intervals cover the choice of patients."""
        return cls(tested, masks, mean_scores([stack_scores(one, tested) for one in masks]))

    def segmented(self) -> list[Slices]:
        """The tested slices with each segmenter's masks in place of the reader's."""
        return [replace(self.tested, masks=masks) for masks in self.masks]


def compare_training_sets(
    sets: Mapping[_Key, TrainingSet],
    tested: Slices | Mapping[_Key, Slices],
    budget: Budget,
    progress: Progress | None = None,
) -> dict[_Key, Outcome]:
    """Train on every set with the same budget from the same starts, and segment the tested slices.

    Budgets are equal in steps and batch size, not in passes over the data: of a larger set each slice is seen less
    often. `tested` may differ by set. progress(done, total) counts training steps over all sets and seeds.
    """
    total, found = budget.steps * budget.seeds * len(sets), dict[_Key, Outcome]()
    for index, (name, examples) in enumerate(sets.items()):
        slices = tested if isinstance(tested, Slices) else tested[name]
        report = progress and shifted(progress, index * budget.seeds * budget.steps, total)
        masks = [
            _segmented(examples, slices, budget, repeat, report and shifted(report, repeat * budget.steps, total))
            for repeat in range(budget.seeds)
        ]
        found[name] = Outcome.of(slices, tuple(masks))
    return found


def _segmented(examples: TrainingSet, tested: Slices, budget: Budget, repeat: int, progress: Progress | None) -> Masks:
    network = train_segmenter(
        examples, budget.steps, budget.seed + repeat, budget.backbone, budget.device, budget.precision, progress
    )
    return predict(network, tested)


def mean_function(outcome: Outcome) -> CardiacFunction:
    """Function as the segmenters measure it, averaged over them; NaN where one of them finds none."""
    repeats = [cardiac_function(one) for one in outcome.segmented()]
    values = {name: np.mean([one.values[name] for one in repeats], axis=0) for name in MEASURES}
    return CardiacFunction(repeats[0].patients, values)
