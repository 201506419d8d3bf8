"""Outlines that a segmenter, taught on real images alone, finds in every set; and whether they follow the masks."""

from dataclasses import dataclass

from torch import nn

from cmrfed.evaluation.fidelity.sets import Compared, images_of, outlines_of
from cmrfed.evaluation.subject import ProgressBar, thin
from cmrfed.fidelity import FAITHFULNESS, Score, SliceScores, faithfulness, mean_scores
from cmrfed.shapes import Mask
from cmrfed.slices import Slices
from cmrfed.utility import predict, train_segmenter

TAUGHT_ON = 600
"""Real slices at most that the segmenter learns from."""


@dataclass(frozen=True)
class Outlines:
    """The segmenter, and by arm how faithful its images are to their masks."""

    segmenter: nn.Module
    faithfulness: dict[str, dict[str, Score]]

    def of(self, slices: Slices) -> Mask:
        """What the segmenter finds in the images."""
        return predict(self.segmenter, images_of(slices))


def outlined(sets: Compared, steps: int, bar: ProgressBar) -> Outlines | None:
    """None where no training patient is labelled, or no test patient."""
    subject = sets.subject
    taught_on, tested = thin(subject.train.labelled(), TAUGHT_ON, subject.seed), sets.test.labelled()
    if not (len(taught_on) and len(tested)):
        return None
    with bar("segmenter for outlines") as progress:
        segmenter = train_segmenter(
            images_of(taught_on), outlines_of(taught_on), steps, subject.seed, subject.device, progress
        )
    floor = _followed(segmenter, tested)
    made = {arm: own.labelled() for arm, own in sets.made.items()}
    faithful = {
        arm: mean_scores(FAITHFULNESS, _followed(segmenter, own), floor, subject.bootstrap, subject.seed)
        for arm, own in made.items()
        if len(own)
    }
    return Outlines(segmenter, faithful)


def _followed(segmenter: nn.Module, slices: Slices) -> SliceScores:
    found = predict(segmenter, images_of(slices))
    return SliceScores(faithfulness(found, outlines_of(slices), slices.spacing_mm[0, 1:]), slices.patients)
