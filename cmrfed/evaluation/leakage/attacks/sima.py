"""SimA, score-based membership inference in one query (Rao, Qu and Moyer 2025, arXiv:2509.25003).

The network's answer at an image without noise points to the mean of the training images nearby; at a member it is
short:

    score = - |e(signal x, t)|_4^4.
"""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe


def sima_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """Minus the mean fourth power of the predicted noise: higher means "more likely a member"."""
    return -probe.patient_means(probe.clean_noise.pow(4).flatten(1).mean(1))


SIMA = Attack(
    scores=sima_scores,
    needs="probe",
    access="model",
    family="score",
    paper="Rao et al. 2025, arXiv:2509.25003",
    meaning="At a training image the network sees little to correct.",
)
