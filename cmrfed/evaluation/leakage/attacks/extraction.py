"""Extraction of training images from samples (Carlini et al., USENIX 2023, arXiv:2301.13188).

A synthetic image y is a copy of x when it is far nearer to x than to the other images around:

    ratio(y, x) = d(y, x) / (alpha mean of the 50 nearest d(y, .)),    alpha = 1/2; below 1 the paper calls x extracted.
"""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.neighbours import Neighbours, Samples, distances_between, nearest, patient_minima

NEIGHBOURS = 50
ALPHA = 0.5


def extraction_scores(samples: Samples, rows_at_once: int = 512) -> Float[np.ndarray, " patient"]:
    """Minus a patient's smallest ratio over all synthetic images: higher means "more likely a member"."""
    scale = _scale(nearest(samples.synthetic, samples.archive, NEIGHBOURS).distances)
    best, slices = np.full(len(samples.scored), np.inf), samples.scored.piece(0, len(samples.scored))
    for start in range(0, len(samples.synthetic), rows_at_once):
        part = slice(start, start + rows_at_once)
        found = distances_between(samples.synthetic.piece(part.start, part.stop), slices).numpy()
        own = samples.synthetic.owners[part, None] == samples.scored.owners
        best = np.minimum(best, np.where(own, np.inf, found / scale[part, None]).min(axis=0))
    return -patient_minima(best, samples.scored.owners)


def extraction_ratios(found: Neighbours) -> Float[np.ndarray, " image"]:
    """Each image's ratio with its nearest training image, given the 50 nearest; below 1 it counts as extracted."""
    return found.distances[:, 0] / _scale(found.distances)


def _scale(distances: Float[np.ndarray, "image neighbour"]) -> Float[np.ndarray, " image"]:
    """alpha times the mean over the neighbours that there are."""
    mean = np.nanmean(np.where(np.isfinite(distances), distances, np.nan), axis=1)
    return np.maximum(ALPHA * mean, 1e-12)


EXTRACTION = Attack(
    scores=extraction_scores,
    needs="pixels",
    access="samples",
    family="samples",
    paper="Carlini et al. 2023, arXiv:2301.13188",
    meaning="Some synthetic image lies far nearer to a training patient than to any other.",
)

EXTRACTION_FEATURES = Attack(
    scores=extraction_scores,
    needs="features",
    access="samples",
    family="samples",
    paper="Carlini et al. 2023, arXiv:2301.13188",
    meaning="As extraction, by the features of a network trained on photographs.",
)
