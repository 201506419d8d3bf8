"""What has happened to a value on its way out of a site, said by its type: clipped, noised, paid for.

Each state has one place where it is given, and one that asks for it: `clipped_gradient_sum` clips, `PrivacyPlan.noised`
takes what is clipped, `PrivacyPlan.mean` what is noised, and a site's messages (`client/app.py`) only what is `Paid`,
which a home alone says. Whoever mixes them up is told by mypy, before anything runs.
"""

from dataclasses import dataclass
from typing import Generic, NewType, TypeVar

from torch import Tensor

T = TypeVar("T", covariant=True)

Clipped = NewType("Clipped", Tensor)
"""A sum over patients (float64, one entry a coordinate) that any one of them moves by at most the clipping norm."""

Noised = NewType("Noised", Tensor)
"""A clipped sum with a site's noise or its share of it, in units of the plan's grid (int64)."""


@dataclass(frozen=True)
class Paid(Generic[T]):
    """What may leave the site: its event is in the ledger under this receipt, durably, or the site's policy lets it out
    for nothing, and the receipt is empty."""

    value: T
    receipt: str
