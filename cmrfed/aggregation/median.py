"""The median of each weight over the sites (Yin et al. 2018, arXiv:1803.01498): fewer than half of them, however they
lie, move no weight beyond where honest ones are.

Sensitivity: with `recipe=local` each update is already private on its own, and whatever is computed from it is
post-processing. Under `recipe=distributed` nobody sees the updates that a median would need. Noise of sites does not
average out as in a mean: of many sites' Gaussian noise the median keeps pi / 2 of the mean's variance.
"""

from collections.abc import Sequence

import numpy as np

from cmrfed.updates import Weights


def median(updates: Sequence[Weights]) -> Weights:
    """The coordinate-wise median over the sites that replied; of an even number, midway between the inner two."""
    names = updates[0]
    return {n: np.median(np.stack([update[n] for update in updates]), axis=0).astype(np.float32) for n in names}
