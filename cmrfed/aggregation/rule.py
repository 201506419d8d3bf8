"""What every rule is, and what every rule is given."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from cmrfed.config import UserError
from cmrfed.members import RULES
from cmrfed.updates import Weights

Rule: TypeAlias = Callable[[Sequence[Weights]], Weights]
"""One or more updates of the same names and shapes -> one."""


def join(rule: str, updates: Sequence[Weights]) -> Weights:
    """The sites' updates as one. Raises UserError if the updates differ in the name or shape of a weight."""
    shapes = [{name: array.shape for name, array in update.items()} for update in updates]
    if any(one != shapes[0] for one in shapes[1:]):
        raise UserError("aggregation: the sites sent different weights; they must run the same generator")
    return RULES.load(rule)(updates)
