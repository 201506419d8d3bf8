"""The comparison: the same segmenter trained on real, on synthetic and on both, scored on the same real patients."""

from collections.abc import Callable
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


def _both(real: TrainingSlices, synthetic: TrainingSlices) -> TrainingSlices:
    return TrainingSlices(torch.cat([real.images, synthetic.images]), torch.cat([real.masks, synthetic.masks]))


ARMS: dict[str, Callable[[TrainingSlices, TrainingSlices], TrainingSlices]] = {
    "real": lambda real, synthetic: real,
    "synthetic": lambda real, synthetic: synthetic,
    "mixed": _both,
}
"""What each arm trains on, given the real and the synthetic slices."""


def compare_arms(
    real: TrainingSlices,
    synthetic: TrainingSlices,
    test: TestStacks,
    steps: int = 300,
    seeds: int = 1,
    seed: int = 0,
    replicates: int = 1000,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Train every arm of `ARMS` for the same `steps` from the same starts, and score it on the held-out patients.

    Budgets are equal in steps and batch size, not in passes over the data: "mixed" sees each slice less often. Each
    patient's scores are averaged over `seeds` trainings (seed, seed + 1, ...) before patients are, so that intervals
    cover the choice of patients. progress(done, total) counts training steps over all arms and seeds.

    Returns `summarise`'s dictionary for each arm.
    """
    total = steps * seeds * len(ARMS)
    results = {}
    for index, (name, choose) in enumerate(ARMS.items()):
        slices = choose(real, synthetic)
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
