"""Whether an image shows the heart that its mask asked for: outlines that a segmenter finds in it against that mask.

The segmenter is given real images alone to learn from, so its own errors are in the score; the floor, the same on the
real images of the same masks, tells how large they are.
"""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.utility.metrics import METRICS, RegionPair
from cmrfed.shapes import STRUCTURES, Mask

FAITHFULNESS = (*(f"dice_{structure.name.lower()}" for structure in STRUCTURES), "dice_mean", "hd95_mm")

PerSlice = Float[np.ndarray, "batch score"]


def faithfulness(found: Mask, asked: Mask, spacing_mm: Float[np.ndarray, " 2"]) -> PerSlice:
    """A row a slice, a column for each of `FAITHFULNESS`: Dice by structure, its mean, and the mean HD95 in mm.

    Every structure is scored in the slice as `utility.metrics` scores it in a stack: one that only either mask has
    costs all of its Dice, and the slice's diagonal. One that neither has is NaN, for there is nothing to be faithful
    to; means are over those that are there, NaN where there are none. Labels of `cmrfed.shapes.Label`.
    """
    pairs = zip(found.cpu().numpy(), asked.cpu().numpy(), strict=True)
    slices = [[RegionPair(one == label, other == label, spacing_mm) for label in STRUCTURES] for one, other in pairs]
    metrics = ("dice", "hd95_mm")
    dice, hd95_mm = (np.array([[_scored(name, pair) for pair in own] for own in slices]) for name in metrics)
    return np.column_stack([dice, _mean_of_known(dice), _mean_of_known(hd95_mm)])


def _scored(metric: str, pair: RegionPair) -> float:
    return float("nan") if all(pair.empty) else METRICS[metric](pair)


def _mean_of_known(values: Float[np.ndarray, "batch structure"]) -> Float[np.ndarray, " batch"]:
    """NaN where nothing is known."""
    known = np.isfinite(values)
    counts = known.sum(1)
    return np.where(counts > 0, np.where(known, values, 0).sum(1) / np.maximum(counts, 1), np.nan)
