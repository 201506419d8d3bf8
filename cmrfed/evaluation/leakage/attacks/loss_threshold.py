"""Loss-threshold membership inference (Yeom et al., CSF 2018; on diffusion models: Carlini et al., USENIX 2023,
arXiv:2301.13188).

A generator that has memorised a patient has a lower loss on that patient's slices than on a stranger's. With x_h the
slice at noise share h and L the generator's own training loss,

    score = - mean_h L(x_h),    h = (k + 1/2) / times.

Where patients of known membership are at hand the whole curve h -> L(x_h) can be weighted instead of averaged: members
need not be told from others equally well at every noise share (Matsumoto et al. 2023, arXiv:2302.03262). For rectified
flows that is the curve over the interpolation path of Sesmat, Meseguer-Brocal and Peeters 2026, arXiv:2606.07271: their
error of the reconstructed image is h^2 times this loss, and the classifier standardises both alike.
"""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe


def loss_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """Minus each patient's mean loss over slices, noise shares and noises: higher means "more likely a member"."""
    return -probe.patient_means(probe.loss_curve.mean(dim=1))


def loss_curves(probe: Probe) -> Float[np.ndarray, "patient time"]:
    """Each patient's mean loss at every noise share, for a classifier to weight."""
    return probe.patient_means(probe.loss_curve)


LOSS = Attack(
    scores=loss_scores,
    needs="probe",
    access="loss",
    family="loss",
    paper="Yeom et al. 2018; Carlini et al. 2023, arXiv:2301.13188",
    meaning="The generator's own loss is lower on patients it was trained on.",
)

LOSS_CURVE = Attack(
    scores=loss_curves,
    needs="probe",
    access="loss",
    family="loss",
    paper="Matsumoto et al. 2023, arXiv:2302.03262; on flows: Sesmat et al. 2026, arXiv:2606.07271",
    meaning="The same, with the noise levels weighted as patients of known membership teach.",
    calibrated=True,
)
