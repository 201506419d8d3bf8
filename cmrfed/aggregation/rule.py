"""What every rule is, and what every rule is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from cmrfed.config import AggregationConfig, UserError
from cmrfed.members import RULES
from cmrfed.updates import Weights

Joined: TypeAlias = Callable[[Sequence[Weights], AggregationConfig], Weights]
"""`fewest` or more updates of the same names and shapes, and what the configuration says of the rule -> one update."""


@dataclass(frozen=True)
class Rule:
    """A way to join the sites' updates, and of how many it takes at least to keep what its docstring promises."""

    joined: Joined
    fewest: Callable[[AggregationConfig], int] = lambda config: 1


def join(config: AggregationConfig, updates: Sequence[Weights]) -> Weights:
    """The sites' updates as one, by the configured rule. Raises UserError if they differ in the name or shape of a
    weight, or are too few for the rule."""
    shapes = [{name: array.shape for name, array in update.items()} for update in updates]
    if any(one != shapes[0] for one in shapes[1:]):
        raise UserError("aggregation: the sites sent different weights; they must run the same generator")
    if len(updates) < fewest_updates(config):
        raise UserError(f"aggregation.rule: {config.rule} needs {fewest_updates(config)} updates, found {len(updates)}")
    rule: Rule = RULES.load(config.rule)
    return rule.joined(updates, config)


def fewest_updates(config: AggregationConfig) -> int:
    """How many updates the configured rule needs in a round, >= 1."""
    rule: Rule = RULES.load(config.rule)
    return rule.fewest(config)


def weight_by_weight(updates: Sequence[Weights], one: Callable[[np.ndarray], np.ndarray]) -> Weights:
    """Each weight from what the sites say of it alone: `one` makes of (site, ...) in float64 an array without sites.
    Beside the updates there is never more than one weight of all sites in memory."""

    def joined(name: str) -> np.ndarray:
        return one(np.stack([update[name] for update in updates], dtype=np.float64, casting="safe")).astype(np.float32)

    return {name: joined(name) for name in updates[0]}
