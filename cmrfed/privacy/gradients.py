"""The sum of patients' clipped gradients, in memory that no number of patients enlarges.

Two ways to the patients' gradients, one way to sum them. `looped_gradients` runs a micro-batch a patient through
autograd. `vmapped_gradients` runs several patients at once through torch.func, which saves a GPU the many small
kernels; it holds that many gradients at a time. Neither hooks into layers: what autograd differentiates is right for
any network, also where per-sample hooks are silently wrong.

That one patient moves the sum by at most C presumes that the others' gradients stay as they are. In exact arithmetic
they do. On a machine, how a gradient is rounded follows from the kernels, and these are chosen by the shape of what is
computed together: with groups as large as the sample happens to be, one patient more would round all others anew, each
by some 5e-7 of C in single precision and 2e-3 in bf16 (what two kernels differ by on a CPU). So groups are always full,
and `places_are_alike` tells whether a device then gives a patient the same bits wherever in a group and beside anybody;
where not, only the loop will do. `make gpu-check` shows it on a device.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from cmrfed.privacy.clipping import Clipping
from cmrfed.privacy.states import Clipped

Gradients = Sequence[Tensor]
"""Gradients of some patients, weight by weight, each (patient, *shape of the weight)."""


def clipped_gradient_sum(weights: Sequence[Tensor], gradients: Iterable[Gradients], clipping: Clipping) -> Clipped:
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
    return Clipped(torch.cat([total.flatten() for total in totals] + ([answers] if clipping.adaptive else [])))


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
    module: nn.Module, loss: Callable[..., Tensor], chunks: Iterable[tuple[Tensor, ...]], together: int
) -> Iterator[Gradients]:
    """`together` patients at a time. `loss(call, *rows)` gives one patient's scalar loss, where `call` is the module.

    chunks: tensors of at most `together` patients' rows, each (patient, row, ...); all patients have equally many rows.
    A chunk of fewer is filled up with its last patient, whose copies are left out again: all groups are of one shape.
    """
    trained = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}

    def patient_loss(weights: dict[str, Tensor], *rows: Tensor) -> Tensor:
        return loss(lambda *arguments: functional_call(module, weights, arguments), *rows)

    for rows in chunks:
        full = [_filled(part, together) for part in rows]
        found = vmap(grad(patient_loss), in_dims=(None, *(0 for _ in rows)))(trained, *full)
        yield [gradient[: len(rows[0])].float() for gradient in found.values()]


def _filled(part: Tensor, together: int) -> Tensor:
    copies = [part[-1:]] * (together - len(part))
    return torch.cat([part, *copies])


def places_are_alike(
    module: nn.Module, loss: Callable[..., Tensor], one: Sequence[Tensor], other: Sequence[Tensor], together: int
) -> bool:
    """Whether `vmapped_gradients` gives a patient the same gradient, to the bit, in every place and beside anybody.

    one, other: two patients' rows, each (row, ...). `one` is put in all places at once, then first and last among
    `other`. Kernels are chosen by shapes and not by values, so that two made-up patients stand for all.
    """
    groups = ([one] * together, [one, *[other] * (together - 1)], [*[other] * (together - 1), one])
    chunks = (tuple(torch.stack(parts) for parts in zip(*group, strict=True)) for group in groups)
    everywhere, first, last = vmapped_gradients(module, loss, chunks, together)
    return all(
        torch.equal(parts, parts[:1].expand_as(parts))
        and torch.equal(parts[0], at_first[0])
        and torch.equal(parts[0], at_last[-1])
        for parts, at_first, at_last in zip(everywhere, first, last, strict=True)
    )
