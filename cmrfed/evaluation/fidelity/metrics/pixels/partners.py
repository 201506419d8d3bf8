"""Who a real image is compared with for a paired score's floor: another patient's image of the most similar mask."""

import torch
from jaxtyping import Int

from cmrfed.shapes import STRUCTURES, Mask


def nearest_by_mask(
    masks: Mask,
    styles: Int[torch.Tensor, "batch 2"],
    pool: Int[torch.Tensor, "other row column"],
    pool_styles: Int[torch.Tensor, "other 2"],
) -> Int[torch.Tensor, " batch"]:
    """For each mask the index in `pool` of the one with the highest mean Dice over the structures, of the same style
    (vendor and phase) where the pool has any, else of all.

    A structure that neither has counts as 1. Masks and pool are of different patients, which is the caller's to see to.
    Raises ValueError when the pool is empty.
    """
    if len(pool) == 0:
        raise ValueError("no other patient's image to compare with: the pool is empty")
    overlap = torch.stack([_dice(masks == label, pool == label) for label in STRUCTURES]).mean(0)
    alike = (styles[:, None] == pool_styles[None]).all(-1)
    return (overlap + 2 * alike).argmax(1)


def _dice(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Of every region in `first` with every one in `second`."""
    first, second = first.flatten(1).float(), second.flatten(1).float()
    total = first.sum(1)[:, None] + second.sum(1)[None]
    return torch.where(total > 0, 2 * (first @ second.T) / total.clamp(min=1), 1.0)
