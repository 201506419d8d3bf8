"""FCRE, frequency-calibrated reconstruction error (Zhao et al. 2025, arXiv:2506.14919), made for medical images.

The image is inverted part of the way and brought back. Of what it then misses, low frequencies say little and high
ones nobody reconstructs; the ring 0.15 R .. 0.85 R of the spectrum (R the Nyquist radius) is kept:

    error = mean |ring(x^ - x)|^2,    scores  - error  and  - log error - log(1 - SSIM(x^, x)).

The sum of logarithms joins the two without a choice of units.
"""

import numpy as np
import torch
from jaxtyping import Float
from skimage.metrics import structural_similarity
from torch import Tensor

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe
from cmrfed.shapes import Image

RING = (0.15, 0.85)
_SMALLEST = 1e-12


def fcre_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """Minus each patient's mean mid-frequency error: higher means "more likely a member"."""
    found, images = probe.once(_reconstructed)
    return -probe.patient_means(ring_energy(found - images))


def fcre_ssim_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """Mid-frequency error and lost structural similarity together: higher means "more likely a member"."""
    found, images = probe.once(_reconstructed)
    pairs = zip(found[:, 0].numpy(), images[:, 0].numpy(), strict=True)
    lost = torch.tensor([1 - structural_similarity(one, other, data_range=2.0) for one, other in pairs])
    error = ring_energy(found - images)
    return -probe.patient_means(error.clamp_min(_SMALLEST).log() + lost.clamp_min(_SMALLEST).log())


def ring_energy(residuals: Image) -> Float[Tensor, " batch"]:
    """Mean square over pixels of what the ring of the spectrum holds (Parseval's theorem)."""
    rows, columns = residuals.shape[-2:]
    radius = torch.hypot(torch.fft.fftfreq(rows)[:, None], torch.fft.fftfreq(columns)[None]) / 0.5
    ring = (radius >= RING[0]) & (radius <= RING[1])
    spectrum = torch.fft.fft2(residuals, norm="ortho").abs().square()
    return (spectrum * ring).flatten(1).mean(1)


def _reconstructed(probe: Probe) -> tuple[Image, Image]:
    """x^ at the image's own scale, and the image; both as their latents say."""
    path = probe.inversion_path[:-1]
    signal, _ = probe.alpha_sigma(path[0])
    return probe.pictures(probe.carried(probe.inverted, path[::-1]) / signal), probe.pictures(probe.slices.images)


FCRE = Attack(
    scores=fcre_scores,
    needs="probe",
    access="model",
    family="reconstruction",
    paper="Zhao et al. 2025, arXiv:2506.14919",
    meaning="Middle spatial frequencies of a training image are reconstructed more exactly.",
)

FCRE_SSIM = Attack(
    scores=fcre_ssim_scores,
    needs="probe",
    access="model",
    family="reconstruction",
    paper="Zhao et al. 2025, arXiv:2506.14919",
    meaning="The same, together with structural similarity.",
)
