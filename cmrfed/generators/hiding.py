"""Conditions that are hidden now and then in training: all of them together for guidance, and each by itself for those
who do not know it."""

import torch
from jaxtyping import Bool
from torch import Tensor

from cmrfed.batches import Batch, Conditions, hidden
from cmrfed.conditions import CONDITIONS, UNLABELLED
from cmrfed.config import GeneratorConfig
from cmrfed.shapes import STRUCTURES, Mask, spread

_HIDDEN = "hidden "
"""Of a draw: the rows in which a condition of that name is hidden; of no name: all conditions."""
_LABELS = _HIDDEN + "labels"


def draw_hidden(config: GeneratorConfig, rows: int, random: torch.Generator) -> dict[str, Tensor]:
    """Draws that say which conditions are hidden in which rows."""
    draws = {_HIDDEN: torch.rand(rows, generator=random) < config.condition_dropout}
    for name in config.conditions:
        if dropout := CONDITIONS[name].dropout:
            draws[_HIDDEN + name] = torch.rand(rows, generator=random) < dropout
    if config.label_dropout:
        draws[_LABELS] = torch.rand(rows, len(STRUCTURES), generator=random) < config.label_dropout
    return draws


def with_nothing_hidden(batch: Batch) -> Batch:
    """The same draws, but for those that hide conditions."""
    shown = {name: torch.zeros_like(one) for name, one in batch.draws.items() if name.startswith(_HIDDEN)}
    return batch._replace(draws=batch.draws | shown)


def told_conditions(batch: Batch) -> Conditions:
    """The conditions of a batch that was drawn, as the network is told of them."""
    conditions = hidden(batch.conditions, batch.draws[_HIDDEN])
    for draw, where in batch.draws.items():
        name = draw.removeprefix(_HIDDEN)
        if name != draw and name in conditions:
            conditions = hidden(conditions, where, [name])
    if _LABELS in batch.draws:
        conditions = conditions | {"mask": _with_hidden_labels(conditions["mask"], batch.draws[_LABELS])}
    return conditions


def all_hidden(conditions: Conditions) -> Conditions:
    """What the unconditional branch of classifier-free guidance is told (Ho and Salimans 2022, arXiv:2207.12598)."""
    some = next(iter(conditions.values()))
    return hidden(conditions, torch.ones(len(some), dtype=torch.bool, device=some.device))


def _with_hidden_labels(masks: Mask, which: Bool[Tensor, "batch structure"]) -> Mask:
    """Masks of the structures that are left. Where one is hidden so is whatever is not one of them: a hole in the
    background would tell where it is."""
    left = [(masks == label) & spread(~one, masks) for label, one in zip(STRUCTURES, which.unbind(1), strict=True)]
    shown = torch.stack(left).any(dim=0) | spread(~which.any(dim=1), masks)
    return torch.where(shown, masks, torch.full_like(masks, UNLABELLED))
