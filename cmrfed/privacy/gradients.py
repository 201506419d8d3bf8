"""The sum of patients' clipped gradients, in memory that no number of patients enlarges.

Two ways to the patients' gradients, one way to sum them. `looped_gradients` runs a micro-batch a patient through
autograd. `vmapped_gradients` runs several patients at once through torch.func, which saves a GPU the many small
kernels; it holds that many gradients at a time. Neither hooks into layers: what autograd differentiates is right for
any network, also where per-sample hooks are silently wrong.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from cmrfed.privacy.clipping import Clipping

Gradients = Sequence[Tensor]
"""Gradients of some patients, weight by weight, each (patient, *shape of the weight)."""


def clipped_gradient_sum(
    weights: Sequence[Tensor], gradients: Iterable[Gradients], clipping: Clipping
) -> Float64[Tensor, " coordinate"]:
    """Sum over patients of the clipped gradient, flattened in the order of `weights`.

    With adaptive clipping one more coordinate holds the sum of the patients' answers. Summed in double precision
    whatever the gradients were computed in, so that the order of the patients leaves no trace above clipping's guard.
    A patient whose gradient is not finite contributes zero. With no patient the sum is zero, and the step is released
    all the same: an empty draw must look like any other.
    """
    totals = [torch.zeros_like(weight, dtype=torch.float64, requires_grad=False) for weight in weights]
    answers = torch.zeros(1, dtype=torch.float64, device=totals[0].device)
    for some in gradients:
        contribution = clipping.contribution(layer_norms(some))
        answers += contribution.answers.sum()
        for total, part, factors in zip(totals, some, contribution.factors.T, strict=True):
            _add(total, part, factors)
    return torch.cat([total.flatten() for total in totals] + ([answers] if clipping.adaptive else []))


def layer_norms(gradients: Gradients) -> Float64[Tensor, "patient weight"]:
    """Euclidean norm of each patient's gradient by weight, in double precision; weight by weight, which stays in the
    processor's cache. The gradients stay as they are: `copy` also where they are double already."""
    squares = [part.to(torch.float64, copy=True).square_().flatten(1).sum(1) for part in gradients]
    return torch.stack(squares, dim=1).sqrt()


def _add(total: Tensor, part: Tensor, factors: Float64[Tensor, " patient"]) -> None:
    """total += sum over patients of factor x part; a patient of factor 0 is left out, as 0 * NaN is NaN."""
    if len(part) == 1:
        if factors[0] > 0:
            total.add_(part[0], alpha=float(factors[0]))
    else:
        kept = factors > 0
        total.add_(torch.tensordot(factors[kept], part[kept].double(), dims=1))


def looped_gradients(
    weights: Sequence[nn.Parameter], patient_losses: Iterable[Callable[[], Tensor]]
) -> Iterator[Gradients]:
    """One patient at a time: the graph of one is freed before the next is built.

    patient_losses: for each sampled patient a function that computes the patient's scalar loss, the mean over its
    rows. Gradients are single precision whatever autocast computed in; weights the loss does not reach get zero.
    """
    for patient_loss in patient_losses:
        gradients = torch.autograd.grad(patient_loss(), weights, allow_unused=True, materialize_grads=True)
        yield [gradient.float()[None] for gradient in gradients]


def vmapped_gradients(
    module: nn.Module, loss: Callable[..., Tensor], chunks: Iterable[tuple[Tensor, ...]]
) -> Iterator[Gradients]:
    """Several patients at a time. `loss(call, *rows)` gives one patient's scalar loss, where `call` is the module.

    chunks: tensors of some patients' rows, each (patient, row, ...); all patients have equally many rows.
    """
    trained = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}

    def patient_loss(weights: dict[str, Tensor], *rows: Tensor) -> Tensor:
        return loss(lambda *arguments: functional_call(module, weights, arguments), *rows)

    for rows in chunks:
        found = vmap(grad(patient_loss), in_dims=(None, *(0 for _ in rows)))(trained, *rows)
        yield [gradient.float() for gradient in found.values()]
