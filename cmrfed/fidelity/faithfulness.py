"""Whether an image shows the heart that its mask asked for: outlines that a segmenter finds in it against that mask.

The segmenter is given real images alone to learn from, so its own errors are in the score; the floor, the same on the
real images of the same masks, tells how large they are.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion, distance_transform_edt

from cmrfed.shapes import STRUCTURES, Mask

FAITHFULNESS = (*(f"dice_{structure.name.lower()}" for structure in STRUCTURES), "dice_mean", "hd95_mm")

PerSlice = Float[np.ndarray, "batch score"]


def faithfulness(found: Mask, asked: Mask, spacing_mm: Float[np.ndarray, " 2"]) -> PerSlice:
    """A row a slice, a column for each of `FAITHFULNESS`.

    Dice, 2 |A and B| / (|A| + |B|), of a structure that neither mask has is NaN, as there is nothing to be faithful to;
    their mean is over those that are there. HD95 is the 95th percentile of the distances between outlines in the slice,
    in mm, the mean over structures that both masks have, NaN where there are none. Labels of `cmrfed.shapes.Label`.
    """
    dice = np.column_stack([_dice(found == label, asked == label) for label in STRUCTURES])
    return np.column_stack([dice, _mean_of_known(dice), _mean_of_known(_hd95_mm(found, asked, spacing_mm))])


def _dice(found: torch.Tensor, asked: torch.Tensor) -> Float[np.ndarray, " batch"]:
    both, either = ((found & asked).sum((1, 2)).double(), (found.sum((1, 2)) + asked.sum((1, 2))).double())
    return torch.where(either > 0, 2 * both / either, torch.nan).cpu().numpy()


def _hd95_mm(found: Mask, asked: Mask, spacing_mm: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "batch structure"]:
    pairs = zip(found.cpu().numpy(), asked.cpu().numpy(), strict=True)
    return np.array([[hd95_mm(one == s, other == s, spacing_mm) for s in STRUCTURES] for one, other in pairs])


def hd95_mm(
    one: Bool[np.ndarray, "row column"], other: Bool[np.ndarray, "row column"], spacing_mm: Float[np.ndarray, " 2"]
) -> float:
    """The larger of the two directed 95th percentiles of the distances between two regions' outlines in a slice, in mm.

    An outline is the region's pixels with a neighbour outside, and the image ends outside. NaN where either is empty.
    """
    if not (one.any() and other.any()):
        return float("nan")
    outlines = [region & ~binary_erosion(region) for region in (one, other)]
    to_one, to_other = (distance_transform_edt(~outline, sampling=spacing_mm) for outline in outlines)
    return float(max(np.percentile(to_other[outlines[0]], 95), np.percentile(to_one[outlines[1]], 95)))


def _mean_of_known(values: Float[np.ndarray, "batch structure"]) -> Float[np.ndarray, " batch"]:
    """NaN where nothing is known."""
    known = np.isfinite(values)
    counts = known.sum(1)
    return np.where(counts > 0, np.where(known, values, 0).sum(1) / np.maximum(counts, 1), np.nan)
