"""Gradient membership inference (Nasr et al., S&P 2019, arXiv:1812.00910; on diffusion models, GSA: Pang et al. 2023,
arXiv:2308.03405).

Training has brought the gradient of a member's loss near zero, of a stranger's less so. With g_l the gradient by the
trained weights of layer l of a patient's mean loss at fixed noise shares and noises,

    score = - log |g|,    or a classifier on (log |g_1|, ..., log |g_L|).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe
from cmrfed.training import autocast

_SHARES = (0.25, 0.5, 0.75)
_SMALLEST = 1e-12
_SLICES_AT_ONCE = 8
"""Of one patient, so that memory does not grow with how many there are."""


def gradient_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """Minus the logarithm of a patient's gradient norm: higher means "more likely a member"."""
    return -np.log(np.sqrt((probe.once(layer_norms) ** 2).sum(axis=1)) + _SMALLEST)


def gradient_logs(probe: Probe) -> Float[np.ndarray, "patient layer"]:
    """Logarithms of each patient's gradient norm by trained weight tensor, for a classifier to weight."""
    return np.log(probe.once(layer_norms) + _SMALLEST)


def layer_norms(probe: Probe) -> Float[np.ndarray, "patient layer"]:
    """Each patient's gradient norm by trained weight tensor, by ascending patient number."""
    numbers = probe.slices.patients.unique()
    return np.array([_norms(probe, torch.nonzero(probe.slices.patients == number)[:, 0]) for number in numbers])


def _norms(probe: Probe, rows: Tensor) -> list[float]:
    """The norms for one patient."""
    weights = [weight for weight in probe.generator.parameters() if weight.requires_grad]
    total = [torch.zeros_like(weight) for weight in weights]
    for some in rows.split(_SLICES_AT_ONCE):
        found = torch.autograd.grad(_loss(probe, some) * (len(some) / len(rows)), weights, allow_unused=True)
        total = [have if one is None else have + one for have, one in zip(total, found, strict=True)]
    return [float(one.norm()) for one in total]


def _loss(probe: Probe, rows: Tensor) -> Tensor:
    """Some slices' mean loss over the noise shares."""
    batch = probe.slices.batch.map(lambda part: part[rows].repeat_interleave(len(_SHARES), dim=0)).to(probe.device)
    times = torch.tensor([probe.generator.time_at(share) for share in _SHARES], device=probe.device).repeat(len(rows))
    noises = torch.cat([_noises(probe)] * len(rows)).to(probe.device)
    with autocast(probe.device, probe.precision):
        return probe.generator.losses_at(batch.images, noises, times, batch.conditions).mean()


def _noises(probe: Probe) -> Tensor:
    """The same for every slice."""
    stream = torch.Generator().manual_seed(probe.seed + 1)
    return torch.randn((len(_SHARES), *probe.slices.images.shape[1:]), generator=stream)


GRADIENT_NORM = Attack(
    scores=gradient_scores,
    needs="probe",
    access="gradients",
    family="gradient",
    paper="Nasr et al. 2019, arXiv:1812.00910; Pang et al. 2023, arXiv:2308.03405",
    meaning="Training has flattened the loss at its own patients.",
)

GRADIENT = Attack(
    scores=gradient_logs,
    needs="probe",
    access="gradients",
    family="gradient",
    paper="Nasr et al. 2019, arXiv:1812.00910; Pang et al. 2023, arXiv:2308.03405",
    meaning="The same, layer by layer, weighted as patients of known membership teach.",
    calibrated=True,
)
