"""The clipped sum of patients' gradients, one micro-batch a patient, in memory that no number of patients enlarges."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.privacy.plan import PrivacyPlan

_ROUNDING_GUARD = 1 - 1e-6
"""Clips a hair below C, so that no rounding of norm, product or sum can carry a patient above it."""


def clipped_gradient_sum(
    weights: Sequence[nn.Parameter], patient_losses: Iterable[Callable[[], Tensor]], plan: PrivacyPlan
) -> Float[Tensor, " weight"]:
    """Sum over patients of clip_C(gradient of the patient's loss), flattened in the order of `weights`.

    patient_losses: for each sampled patient a function that computes the patient's scalar loss, the mean over its
    rows; the graph of one is freed before the next is built. Gradients are kept in single and summed in double
    precision whatever autocast computed in, so that the order of the patients leaves no trace above the guard. A
    patient whose gradient is not finite contributes zero. With no patient the sum is zero, and the step is released
    all the same: an empty draw must look like any other.
    """
    total = torch.zeros(sum(weight.numel() for weight in weights), device=weights[0].device, dtype=torch.float64)
    for patient_loss in patient_losses:
        gradient = patient_gradient(weights, patient_loss)
        factor = plan.clip_factor(torch.linalg.vector_norm(gradient, dtype=torch.float64)) * _ROUNDING_GUARD
        if factor > 0:  # not a multiplication by zero: 0 * NaN is NaN
            total.add_(gradient, alpha=float(factor))
    return total


def patient_gradient(weights: Sequence[nn.Parameter], patient_loss: Callable[[], Tensor]) -> Float[Tensor, " weight"]:
    """One patient's flattened gradient in single precision; weights the loss does not reach get zero."""
    gradients = torch.autograd.grad(patient_loss(), weights, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten().float() for gradient in gradients])
