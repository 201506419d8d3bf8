"""PIA and PIAN, proximal initialisation attacks (Kong et al., ICLR 2024, arXiv:2305.18355).

The noise that the network sees in the clean image, e0, is put into it; on a member the network sees it again:

    score = - |e(signal x + noise e0, t) - e0|_4^4.

PIAN first scales e0 to the length of Gaussian noise, e0 -> sqrt(2 / pi) e0 / mean |e0|.
"""

import math

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe
from cmrfed.shapes import Latent

PROXIMAL_SHARE = 0.3
"""Noise share at which the network is asked again."""
_SMALLEST = 1e-12


def pia_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """Minus the mean fourth power of what the network misses e0 by: higher means "more likely a member"."""
    return _scores(probe, probe.clean_noise)


def pian_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """As `pia_scores`, with e0 normalised."""
    length = probe.clean_noise.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(_SMALLEST)
    return _scores(probe, probe.clean_noise / length * math.sqrt(2 / math.pi))


def _scores(probe: Probe, noises: Latent) -> Float[np.ndarray, " patient"]:
    seen = probe.predicted_noise(probe.noised(noises, PROXIMAL_SHARE), PROXIMAL_SHARE)
    return -probe.patient_means((seen - noises).pow(4).flatten(1).mean(1))


PIA = Attack(
    scores=pia_scores,
    needs="probe",
    access="model",
    family="proximal",
    paper="Kong et al. 2024, arXiv:2305.18355",
    meaning="Noise that the network sees in a training image is seen again after it was put in.",
)

PIAN = Attack(
    scores=pian_scores,
    needs="probe",
    access="model",
    family="proximal",
    paper="Kong et al. 2024, arXiv:2305.18355",
    meaning="The same, with that noise scaled to the length of Gaussian noise.",
)
