"""The median of each weight over the sites (Yin et al. 2018, arXiv:1803.01498).

Guarantee: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing, at no cost. Under `recipe=distributed` nobody sees the updates that a median would need.

Noise: it does not average out as in a mean; of many sites' Gaussian noise the median keeps pi / 2 of the mean's
variance. How much of an update is noise, nobody knows, so that none of it can be shrunk.

Sensitivity: one site moves a weight no further than between the two values of the others that are nearest to their
middle. Fewer than half of the sites, however they lie, move no weight beyond where honest ones are.
"""

from collections.abc import Sequence

import numpy as np

from cmrfed.aggregation.rule import Rule, weight_by_weight
from cmrfed.config import AggregationConfig
from cmrfed.updates import Weights


def median(updates: Sequence[Weights], config: AggregationConfig) -> Weights:
    """The coordinate-wise median over the sites that replied; of an even number, midway between the inner two."""
    return weight_by_weight(updates, lambda values: np.median(values, axis=0))


MEDIAN = Rule(median)
