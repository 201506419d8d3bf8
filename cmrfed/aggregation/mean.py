"""Federated averaging with equal weights (McMahan et al. 2017, arXiv:1602.05629).

Sensitivity: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing. The weights are equal and public: weighting by a count of patients would publish the counts.
"""

from collections.abc import Sequence

import numpy as np

from cmrfed.config import UserError
from cmrfed.updates import Weights


def mean(updates: Sequence[Weights]) -> Weights:
    """The plain mean over the sites that replied. Raises UserError if their weights differ in name or shape."""
    first = updates[0]
    for update in updates[1:]:
        if {n: a.shape for n, a in update.items()} != {n: a.shape for n, a in first.items()}:
            raise UserError("aggregation: the sites sent different weights; they must run the same generator")
    return {n: np.stack([update[n] for update in updates]).mean(0, dtype=np.float64).astype(np.float32) for n in first}
