"""Federated averaging with equal weights (McMahan et al. 2017, arXiv:1602.05629).

Sensitivity: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing. The weights are equal and public: weighting by a count of patients would publish the counts.
"""

from collections.abc import Sequence

import numpy as np

from cmrfed.updates import Weights


def mean(updates: Sequence[Weights]) -> Weights:
    """The plain mean over the sites that replied."""
    names = updates[0]
    return {n: np.stack([update[n] for update in updates]).mean(0, dtype=np.float64).astype(np.float32) for n in names}
