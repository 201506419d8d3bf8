"""Conditions hidden in rows of training: all of them together, each by itself, and single structures of the mask.

What is hidden is decided by an objective's draws, whose names begin with `HIDDEN`, so that a row's loss is known from
its batch alone.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from cmrfed.batches import Conditions, hidden
from cmrfed.conditions import CONDITIONS, UNLABELLED
from cmrfed.config import GeneratorConfig
from cmrfed.shapes import STRUCTURES, Mask, spread

HIDDEN = "hidden "
"""Of a draw: the rows in which a condition of that name is hidden; of no name: all conditions."""
_LABELS = "labels"


def hiding(config: GeneratorConfig, rows: int, random: torch.Generator) -> dict[str, Bool[Tensor, "batch ..."]]:
    """Draws of what is hidden in each row: all conditions together for guidance, each by itself for those who do not
    know it, and structures of the mask."""
    draws = {HIDDEN: torch.rand(rows, generator=random) < config.condition_dropout}
    for name in config.conditions:
        if dropout := CONDITIONS[name].dropout:
            draws[HIDDEN + name] = torch.rand(rows, generator=random) < dropout
    if config.label_dropout:
        draws[HIDDEN + _LABELS] = torch.rand(rows, len(STRUCTURES), generator=random) < config.label_dropout
    return draws


def nothing_hidden(draws: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same draws, by which everything is told."""
    return draws | {name: torch.zeros_like(one) for name, one in draws.items() if name.startswith(HIDDEN)}


def told(conditions: Conditions, draws: dict[str, Tensor]) -> Conditions:
    """The conditions as a network is told them, by what was drawn."""
    for draw, where in draws.items():
        name = draw.removeprefix(HIDDEN)
        if draw == HIDDEN:
            conditions = hidden(conditions, where)
        elif draw == HIDDEN + _LABELS:
            conditions = conditions | {"mask": _with_hidden_labels(conditions["mask"], where)}
        elif draw.startswith(HIDDEN):
            conditions = hidden(conditions, where, [name])
    return conditions


def _with_hidden_labels(masks: Mask, which: Bool[Tensor, "batch structure"]) -> Mask:
    """Masks of the structures that are left. Where one is hidden so is whatever is not one of them: a hole in the
    background would tell where it is."""
    left = [(masks == label) & spread(~one, masks) for label, one in zip(STRUCTURES, which.unbind(1), strict=True)]
    shown = torch.stack(left).any(dim=0) | spread(~which.any(dim=1), masks)
    return torch.where(shown, masks, torch.full_like(masks, UNLABELLED))
