"""The complexity-calibrated loss of rectified flows (Rao and Moyer 2026, arXiv:2603.13421).

A flow gives most away half-way between noise and image: near the ends its target is nearly a linear function of what it
sees, and needs no memory. An intricate image has a higher loss there than a plain one whether or not it was trained on,
which is taken out. With x_h the slice at noise share h, L the generator's own training loss and D differences of
neighbouring pixels,

    score = log mean |D x|^2 - log mean_h L(x_h),    h from 1/4 to 3/4.

The paper's own measure of complexity was not at hand: here it is |D x|^2, and the middle half of the loss curve, which
other attacks ask for too, stands for its many noises at h = 1/2.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe
from cmrfed.shapes import Latent

_SMALLEST = 1e-12


def mid_path_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """How far each patient's loss half-way stays below what its images' complexity suggests."""
    middle = torch.tensor([0.25 <= share <= 0.75 for share in probe.noise_shares])
    loss = probe.loss_curve[:, middle].mean(dim=1)
    return probe.patient_means(
        complexity(probe.slices.images).clamp_min(_SMALLEST).log() - loss.clamp_min(_SMALLEST).log()
    )


def complexity(images: Latent) -> Float[Tensor, " slice"]:
    """Mean square difference of neighbours along rows and columns."""
    rows, columns = (images.diff(dim=axis).square().flatten(1).mean(1) for axis in (-2, -1))
    return rows + columns


MID_PATH = Attack(
    scores=mid_path_scores,
    needs="probe",
    access="loss",
    family="loss",
    paper="Rao and Moyer 2026, arXiv:2603.13421",
    meaning="Half-way between noise and image the loss is lower than an image so intricate would have.",
)
