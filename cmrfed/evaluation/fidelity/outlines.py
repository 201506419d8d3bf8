"""Outlines that a segmenter, taught on real images alone, finds in every set; and whether they follow the masks."""

from dataclasses import dataclass

import torch
from torch import nn

from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.fidelity.metrics import FAITHFULNESS, Score, SliceScores, faithfulness, mean_scores
from cmrfed.evaluation.fidelity.sets import Compared, outlines_of
from cmrfed.evaluation.subject import thin
from cmrfed.evaluation.utility.metrics import TrainingSet, predict, train_segmenter
from cmrfed.shapes import Mask
from cmrfed.slices import Slices

TAUGHT_ON = 600
"""Real slices at most that the segmenter learns from."""


@dataclass(frozen=True)
class Outlines:
    """The segmenter, and by arm how faithful its images are to their masks."""

    segmenter: nn.Module
    faithfulness: dict[str, dict[str, Score]]

    def of(self, slices: Slices) -> Mask:
        """What the segmenter finds in the images."""
        return found_in(self.segmenter, slices)


def outlined(sets: Compared, steps: int, bar: ProgressBar) -> Outlines | None:
    """None where no training patient is labelled, or no test patient."""
    subject = sets.subject
    taught_on, tested = thin(subject.train.labelled(), TAUGHT_ON, subject.seed), sets.test.labelled()
    if not (len(taught_on) and len(tested)):
        return None
    with bar("segmenter for outlines") as progress:
        segmenter = train_segmenter(
            TrainingSet((taught_on,)), steps, subject.seed,
            device=subject.device, precision=subject.precision, progress=progress,
        )  # fmt: skip
    floor = _followed(segmenter, tested)
    made = {arm: own.labelled() for arm, own in sets.made.items()}
    faithful = {
        arm: mean_scores(FAITHFULNESS, _followed(segmenter, own), floor, subject.bootstrap, subject.seed)
        for arm, own in made.items()
        if len(own)
    }
    return Outlines(segmenter, faithful)


def found_in(segmenter: nn.Module, slices: Slices) -> Mask:
    """The outlines that the segmenter finds."""
    return torch.from_numpy(predict(segmenter, slices)).long()


def _followed(segmenter: nn.Module, slices: Slices) -> SliceScores:
    found = found_in(segmenter, slices)
    return SliceScores(faithfulness(found, outlines_of(slices), slices.spacing_mm[0, 1:]), slices.patients)
