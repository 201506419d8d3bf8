"""A segmentation that never looks at an image: one and the same mask in every slice.

Of the masks "each structure where its share of training slices is at least t" it is the one with the best mean Dice on
those slices. A network that does no better on held-out patients has learnt nothing from its images, and a comparison
with it says nothing.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from cmrfed.evaluation.utility.metrics.scores import StackScores
from cmrfed.evaluation.utility.metrics.training_set import Masks
from cmrfed.shapes import STRUCTURES, Label, structures_of
from cmrfed.slices import Slices
from cmrfed.statistics import bootstrap_mean_interval

_SHARES = np.arange(0.05, 1.0, 0.05)

LabelShares = Float[np.ndarray, "structure row column"]
Mask = UInt8[np.ndarray, "row column"]


def blind_masks(learnt: Slices, tested: Slices) -> Masks:
    """The best single mask of the labelled slices `learnt`, for every slice of `tested`."""
    masks = structures_of(torch.from_numpy(np.array(learnt.masks)).long()).numpy()
    shares = np.stack([(masks == label).mean(axis=0) for label in STRUCTURES])
    best = max((_where_at_least(share, shares) for share in _SHARES), key=lambda mask: _mean_dice(mask, shares))
    return np.repeat(best[None], len(tested), axis=0)


def over_blind(scores: StackScores, blind: StackScores, replicates: int, seed: int) -> dict[str, Any]:
    """By how much mean Dice is above the blind mask's on the same patients: {"value", "ci95", "beats_blind"}.

    The interval is bootstrapped over patients; blind is beaten where all of it is above 0. Raises ValueError when the
    patients are not the same.
    """
    if scores.patients != blind.patients:
        raise ValueError("a gain over the blind mask needs the same patients on both sides")
    gains = (scores.by_patient("dice") - blind.by_patient("dice"))[:, -1]
    interval = bootstrap_mean_interval(gains, replicates, seed)
    return {"value": float(gains.mean()), "ci95": interval, "beats_blind": interval[0] > 0}


def _where_at_least(share: float, shares: LabelShares) -> Mask:
    likeliest = np.array(STRUCTURES, np.uint8)[shares.argmax(axis=0)]
    return np.where(shares.max(axis=0) >= share, likeliest, np.uint8(Label.BACKGROUND))


def _mean_dice(mask: Mask, shares: LabelShares) -> float:
    """Of one mask with all slices at once: 2 |P and R| / (|P| + |R|) by structure, in slices' mean."""
    predicted = np.stack([mask == label for label in STRUCTURES])
    both, either = (predicted * shares).sum((1, 2)), (predicted + shares).sum((1, 2))
    return float(np.mean(2 * both / np.maximum(either, 1e-12)))
