"""The mean of each weight without its largest and smallest values (Yin et al. 2018, arXiv:1803.01498).

Of n sites' values, b = floor(share n) are left out at each end, share being `aggregation.trimmed_share`.

Guarantee: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing, at no cost. Under `recipe=distributed` nobody sees the updates that would be left out.

Noise: of Gaussian noise a little more is left than in a mean, up to the median's pi / 2 of its variance for shares near
one half. How much exactly depends on what the sites have to say, so that no update can be shrunk by it.

Sensitivity: let y_1 <= ... <= y_(n-1) be what the others say of a weight. One site moves it by at most
(y_(n-b) - y_b) / (n - 2 b), whatever it sends. Up to b sites, however they lie, move no weight beyond where honest ones
are.
"""

import math
from collections.abc import Sequence

import numpy as np

from cmrfed.aggregation.rule import Rule, weight_by_weight
from cmrfed.config import AggregationConfig
from cmrfed.updates import Weights

_ROUNDING = 1e-9
"""A share of 0.29 of 100 sites is 29 of them, though the product is a hair less."""


def trimmed_mean(updates: Sequence[Weights], config: AggregationConfig) -> Weights:
    """The mean of what is left over the sites that replied."""
    trimmed = math.floor(config.trimmed_share * len(updates) + _ROUNDING)

    def inner(values: np.ndarray) -> np.ndarray:
        return np.sort(values, axis=0)[trimmed : len(values) - trimmed].mean(axis=0)

    return weight_by_weight(updates, inner)


def fewest(config: AggregationConfig) -> int:
    """With fewer sites none would be left out, and the rule would be a mean under another name."""
    return math.ceil(1 / config.trimmed_share - _ROUNDING)


TRIMMED_MEAN = Rule(trimmed_mean, fewest)
