"""Membership by the nearest synthetic image (Chen et al., CCS 2020, arXiv:1909.03935), calibrated by real images.

score = - min_s d(x_s, nearest synthetic) / d(x_s, nearest real image of anybody else),    over the patient's slices.
"""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.neighbours import Samples, nearest, patient_minima


def nearest_sample_scores(samples: Samples) -> Float[np.ndarray, " patient"]:
    """Minus a patient's smallest ratio of distances, synthetic to real: higher means "more likely a member"."""
    made, real = (nearest(samples.scored, side).distances[:, 0] for side in (samples.synthetic, samples.archive))
    return -patient_minima(made / np.maximum(real, 1e-12), samples.scored.owners)


NEAREST_SAMPLE = Attack(
    scores=nearest_sample_scores,
    needs="pixels",
    access="samples",
    family="samples",
    paper="Chen et al. 2020, arXiv:1909.03935",
    meaning="Some synthetic image lies nearer to a training patient than other real patients do.",
)

NEAREST_SAMPLE_FEATURES = Attack(
    scores=nearest_sample_scores,
    needs="features",
    access="samples",
    family="samples",
    paper="Chen et al. 2020, arXiv:1909.03935",
    meaning="As nearest_sample, by the features of a network trained on photographs.",
)
