"""The one update that is nearest to most others (Blanchard et al. 2017, arXiv:1703.02757).

Of n updates of which f may be anything, `aggregation.byzantine_sites`, each has a score: the sum of its squared
distances from its n - f - 2 nearest others. The one with the least score is taken. Needs n >= 2 f + 3.

Guarantee: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing, at no cost. Under `recipe=distributed` nobody sees the updates that are compared.

Noise: nothing averages out. What is taken has the whole noise of one site, n times the variance of a mean's; and where
updates are little more than noise it is the noise that decides which is taken, so that no update can be shrunk by it.

Sensitivity: one site can change which update is taken, and so moves the result by up to the largest distance between
the others' updates; or have its own taken, if that is nearer to them than they are to one another. Up to f sites that
lie cannot draw the result away from honest ones, but towards one of these, however odd its patients are.
"""

from collections.abc import Sequence

import numpy as np

from cmrfed.aggregation.rule import Rule
from cmrfed.config import AggregationConfig
from cmrfed.updates import Weights


def krum(updates: Sequence[Weights], config: AggregationConfig) -> Weights:
    """The update with the least score; of several, the first."""
    return updates[int(np.argmin(scores(updates, config.byzantine_sites)))]


def scores(updates: Sequence[Weights], byzantine: int) -> np.ndarray:
    """Of each update, the sum of its squared distances from its n - f - 2 nearest others."""
    distances = _squared_distances(updates)
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, : len(updates) - byzantine - 2].sum(axis=1)


def _squared_distances(updates: Sequence[Weights]) -> np.ndarray:
    distances = np.zeros((len(updates), len(updates)))
    for i, one in enumerate(updates):
        for j, other in enumerate(updates[:i]):
            apart = sum(float(np.square(one[n] - other[n], dtype=np.float64).sum()) for n in one)
            distances[i, j] = distances[j, i] = apart
    return distances


def fewest(config: AggregationConfig) -> int:
    """Blanchard et al.'s 2 f + 2 < n."""
    return 2 * config.byzantine_sites + 3


KRUM = Rule(krum, fewest)
