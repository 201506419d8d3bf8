"""The mean of the updates that are nearest to most others (Blanchard et al. 2017, arXiv:1703.02757, section 5).

The n - f - 2 updates with the least scores of `cmrfed.aggregation.krum` are averaged, with f the sites that may send
anything, `aggregation.byzantine_sites`. Needs n >= 2 f + 3.

Guarantee: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing, at no cost. Under `recipe=distributed` nobody sees the updates that are compared.

Noise: n - f - 2 sites' noise averages out, of variance 1 / (n - f - 2) where it does not decide who is averaged. Where
it does, nobody knows how much of it is left, so that no update can be shrunk by it.

Sensitivity: one site can have its own update averaged in place of another's, or others' in place of one another's. What
is averaged lies no further from honest updates than these from one another; Krum's limits hold for it too.
"""

from collections.abc import Sequence

import numpy as np

from cmrfed.aggregation.krum import fewest, scores
from cmrfed.aggregation.mean import mean
from cmrfed.aggregation.rule import Rule
from cmrfed.config import AggregationConfig
from cmrfed.updates import Weights


def multi_krum(updates: Sequence[Weights], config: AggregationConfig) -> Weights:
    """The mean of the n - f - 2 updates with the least scores; of equal ones, the first."""
    order = np.argsort(scores(updates, config.byzantine_sites), kind="stable")
    taken = order[: len(updates) - config.byzantine_sites - 2]
    return mean([updates[number] for number in taken], config)


MULTI_KRUM = Rule(multi_krum, fewest)
