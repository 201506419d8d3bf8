"""SecMI, step-wise error comparing membership inference (Duan et al., ICML 2023, arXiv:2302.01316).

The image is carried deterministically to t_sec, then one step on (phi) and back (psi); the t-error is what it misses
by:

    score = - mean |psi(phi(x~_t)) - x~_t|^2,    x~_t the image inverted to t_sec.
"""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe


def secmi_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """Minus each patient's mean t-error, the mean over pixels: higher means "more likely a member"."""
    at, beyond = probe.inversion_path[-2:]
    returned = probe.carried(probe.inverted, [at, beyond, at])
    return -probe.patient_means((returned - probe.inverted).square().flatten(1).mean(1))


SECMI = Attack(
    scores=secmi_scores,
    needs="probe",
    access="model",
    family="inversion",
    paper="Duan et al. 2023, arXiv:2302.01316",
    meaning="An image that was trained on survives a step towards noise and back more exactly.",
)
