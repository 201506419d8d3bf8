"""Authenticity (Alaa et al., ICML 2022, arXiv:2102.08921): the share of images that are not copies with noise.

An image is inauthentic when it lies nearer to its nearest training image than any other patient's image does.
"""

import numpy as np
from jaxtyping import Bool

from cmrfed.evaluation.leakage.attacks.neighbours import Neighbours, Points, nearest


def authentic(found: Neighbours, train: Points) -> Bool[np.ndarray, " image"]:
    """Which images are authentic, given their neighbours in the training set."""
    matched, index = np.unique(found.indices[:, 0], return_inverse=True)
    copied = Points((train.rows(matched).numpy(),), train.owners[matched])
    around = nearest(copied, train).distances[:, 0]
    return np.asarray(found.distances[:, 0] >= around[index])
