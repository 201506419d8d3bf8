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
    totals = [torch.zeros_like(weight, dtype=torch.float64, requires_grad=False) for weight in weights]
    for patient_loss in patient_losses:
        gradient = patient_gradient(weights, patient_loss)
        factor = plan.clip_factor(gradient_norm(gradient)) * _ROUNDING_GUARD
        if factor > 0:  # not a multiplication by zero: 0 * NaN is NaN
            for total, part in zip(totals, gradient, strict=True):
                total.add_(part, alpha=float(factor))
    return torch.cat([total.flatten() for total in totals])


def patient_gradient(weights: Sequence[nn.Parameter], patient_loss: Callable[[], Tensor]) -> list[Tensor]:
    """One patient's gradient in single precision, weight by weight; weights the loss does not reach get zero."""
    gradients = torch.autograd.grad(patient_loss(), weights, allow_unused=True, materialize_grads=True)
    return [gradient.float() for gradient in gradients]


def gradient_norm(gradient: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over all weights, in double precision; weight by weight, which stays in the processor's cache."""
    squares = [part.double().square_().sum() for part in gradient]
    return torch.stack(squares).sum().sqrt()
