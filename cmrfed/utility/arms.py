"""The comparison: the same segmenter trained on different sets of slices, scored on the same real patients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmrfed.shapes import Image, Mask
from cmrfed.utility.scores import METRICS, PatientScores, TestStacks, patient_scores, summarise
from cmrfed.utility.segmenter import predict, train_segmenter


@dataclass(frozen=True)
class TrainingSlices:
    """Images in [-1, 1] with their masks."""

    images: Image
    masks: Mask


def compare_training_sets(
    sets: Mapping[str, TrainingSlices],
    test: TestStacks,
    steps: int = 300,
    seeds: int = 1,
    seed: int = 0,
    replicates: int = 1000,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Train on every set for the same `steps` from the same starts, and score on the held-out patients.

    Budgets are equal in steps and batch size, not in passes over the data: of a larger set each slice is seen less
    often. Each patient's scores are averaged over `seeds` trainings (seed, seed + 1, ...) before patients are, so that
    intervals cover the choice of patients. progress(done, total) counts training steps over all sets and seeds.

    Returns `summarise`'s dictionary for each set.
    """
    total = steps * seeds * len(sets)
    results = {}
    for index, (name, slices) in enumerate(sets.items()):
        scores = []
        for repeat in range(seeds):
            before = (index * seeds + repeat) * steps
            report = None if progress is None else _after(progress, before, total)
            network = train_segmenter(slices.images, slices.masks, steps, seed + repeat, device, report)
            scores.append(patient_scores(predict(network, test.images), test))
        results[name] = summarise(_mean_over_seeds(scores), replicates, seed)
    return results


def _after(progress: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    """Progress of one training as progress of the whole comparison."""
    return lambda done, _: progress(before + done, total)


def _mean_over_seeds(scores: list[PatientScores]) -> PatientScores:
    values = {name: np.mean([one.values[name] for one in scores], axis=0) for name in METRICS}
    return PatientScores(values, scores[0].vendors)
