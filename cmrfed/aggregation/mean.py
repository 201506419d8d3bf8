"""Federated averaging with equal weights (McMahan et al. 2017, arXiv:1602.05629).

Guarantee: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing, at no cost. The weights are equal and public: weights by counts of patients would publish the counts.

Noise: n sites' independent noise averages out to 1 / n of its variance.

Sensitivity: an update that is d longer moves the mean by d / n. It tolerates no site that lies, but for the bounds that
every reply is held to (`cmrfed.replies`).
"""

from collections.abc import Sequence

from cmrfed.aggregation.rule import Rule, weight_by_weight
from cmrfed.config import AggregationConfig
from cmrfed.updates import Weights


def mean(updates: Sequence[Weights], config: AggregationConfig) -> Weights:
    """The plain mean over the sites that replied."""
    return weight_by_weight(updates, lambda values: values.mean(axis=0))


MEAN = Rule(mean)
