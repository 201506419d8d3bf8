"""What goes through a network at once: rows of images, what is known of each, and what was drawn for it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from cmrfed.conditions import TOLD, VENDORS
from cmrfed.shapes import Latent, Mask, spread

Conditions: TypeAlias = dict[str, Tensor]
"""Name in `cmrfed.conditions.TOLD` -> tensor (batch, ...); a name that is missing is unknown everywhere."""


class Batch(NamedTuple):
    """Rows that lie beside each other in every tensor: the first dimension of each is the batch.

    images: what is learnt, or what a space made of it. conditions: by name, the mask among them. draws: the randomness
    of an objective by names of its own; nobody but the objective that drew them looks inside.

    Being a tuple of dicts of tensors, it is a tree that `torch.func` goes through.
    """

    images: Latent
    conditions: Conditions
    draws: dict[str, Tensor]

    @property
    def masks(self) -> Mask:
        return self.conditions["mask"]

    @property
    def size(self) -> int:
        """How many rows."""
        return len(self.images)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same change of every tensor: other rows, another device."""
        return Batch(
            change(self.images),
            {name: change(one) for name, one in self.conditions.items()},
            {name: change(one) for name, one in self.draws.items()},
        )

    def to(self, device: torch.device | str) -> "Batch":
        return self.map(lambda one: one.to(device))

    def rows(self, start: int, end: int) -> "Batch":
        """Those rows alone."""
        return self.map(lambda one: one[start:end])


def _in_a_row(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts))


def joined(batches: Sequence[Batch], join: Callable[[Sequence[Tensor]], Tensor] = _in_a_row) -> Batch:
    """The rows of all; or the tensors put together in another way."""
    first = batches[0]
    return Batch(
        join([one.images for one in batches]),
        {name: join([one.conditions[name] for one in batches]) for name in first.conditions},
        {name: join([one.draws[name] for one in batches]) for name in first.draws},
    )


def hidden(conditions: Conditions, where: Bool[Tensor, " batch"], names: Sequence[str] | None = None) -> Conditions:
    """The conditions with UNKNOWN in some rows, of all or of those named."""
    chosen = conditions.keys() if names is None else conditions.keys() & set(names)
    return conditions | {name: _hidden(conditions[name], TOLD[name].unknown, where) for name in chosen}


def nothing_of(conditions: Conditions) -> Conditions:
    """The conditions, all UNKNOWN: what the unconditional branch of classifier-free guidance is told (Ho and Salimans
    2022, arXiv:2207.12598)."""
    return {name: torch.full_like(one, TOLD[name].unknown) for name, one in conditions.items()}


def _hidden(column: Tensor, unknown: float | int, where: Bool[Tensor, " batch"]) -> Tensor:
    return torch.where(spread(where, column), torch.full_like(column, unknown), column)


def of_any_scanner(conditions: Conditions, random: torch.Generator) -> Conditions:
    """Phantoms have a style and no vendor; what is drawn later has a vendor, or neither. Both, in equal shares."""
    rows = len(conditions["mask"])
    told = torch.rand(rows, generator=random) < 0.5
    found = dict(conditions)
    if "vendor" in found:
        drawn = torch.randint(len(VENDORS), (rows,), generator=random)
        unknown_vendor = torch.full_like(drawn, TOLD["vendor"].unknown)
        found["vendor"] = torch.where(told, unknown_vendor, drawn).to(found["vendor"].device)
    if "style" in found:
        unknown = torch.full_like(found["style"], TOLD["style"].unknown)
        found["style"] = torch.where(told.to(unknown.device)[:, None], found["style"], unknown)
    return found


def unknown_conditions(names: Sequence[str], rows: int | torch.SymInt, grid: Sequence[int]) -> Conditions:
    """These conditions, each UNKNOWN in every row, for images of that grid. rows: a symbol where torch exports."""
    kinds = ((name, TOLD[name]) for name in names)
    shapes = {name: (rows, *(grid if kind.shape is None else kind.shape)) for name, kind in kinds}
    return {name: torch.full(shape, TOLD[name].unknown, dtype=_dtype(name)) for name, shape in shapes.items()}


def _dtype(name: str) -> torch.dtype:
    """For a network, in which labels and indices are int64."""
    return torch.int64 if isinstance(TOLD[name].unknown, int) else torch.float32
