"""Utility of every arm: segmenters that learnt from synthetic images for training masks, tested on held-out patients.

Synthetic images for the test patients' own masks would carry their shapes into training.
"""

import numpy as np
import torch

from cmrfed.config import UtilityConfig
from cmrfed.evaluation.subject import ProgressBar, Results, Subject
from cmrfed.shapes import structures_of
from cmrfed.slices import Slices
from cmrfed.utility import TestStacks, TrainingSlices, compare_training_sets


def measure_utility(subject: Subject, config: UtilityConfig, bar: ProgressBar) -> dict[str, Results]:
    """Scores by arm for segmenters trained on real, synthetic and both; the real one is trained once for all arms.

    Empty when nothing is labelled.
    """
    tested = subject.held_out.labelled()
    if not (len(subject.learnt) and len(tested)):
        return {}
    sets = {"real": training_slices(subject.learnt)}
    for arm, made in subject.synthetic.items():
        sets[f"{arm} synthetic"] = training_slices(made.learnt)
        sets[f"{arm} mixed"] = training_slices(subject.learnt, made.learnt)
    with bar("training segmenters") as progress:
        scores = compare_training_sets(
            sets,
            test_stacks(tested),
            config.steps,
            config.seeds,
            subject.seed,
            subject.bootstrap,
            subject.device,
            progress,
        )
    return {
        arm: {"real": scores["real"], "synthetic": scores[f"{arm} synthetic"], "mixed": scores[f"{arm} mixed"]}
        for arm in subject.synthetic
    }


def training_slices(*parts: Slices) -> TrainingSlices:
    """All slices of the parts, which are labelled, for a segmenter to learn from."""
    batches = [part.batch(range(len(part)))[:2] for part in parts]
    images, masks = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    return TrainingSlices(images, structures_of(masks))


def test_stacks(held_out: Slices) -> TestStacks:
    """Held-out slices with what puts their stacks together again."""
    first = np.unique(held_out.stacks, return_index=True)[1]
    images, masks, _ = held_out.batch(range(len(held_out)))
    return TestStacks(
        images,
        structures_of(masks),
        torch.from_numpy(held_out.patients),
        torch.from_numpy(held_out.stacks),
        held_out.vendors,
        torch.from_numpy(held_out.spacing_mm[first]),
    )
