"""How much one patient may contribute to a step: at most C in Euclidean norm, whatever the patient's gradient is.

    norm        g min(1, C / |g|)                               Abadi et al. 2016, arXiv:1607.00133
    automatic   g C / (|g| + 0.01 C)                            Bu et al. 2023, arXiv:2206.07136
    per_layer   g_l c / (|g_l| + 0.01 c), c = C / sqrt(L),      by weight tensor l = 1..L; the parts make up at most
                                                                C together

Adaptive clipping (Andrew et al. 2021, arXiv:1905.03871) lets C follow a quantile gamma of the patients' norms. Here the
question "is this patient's norm at most C?" is one more coordinate of the contribution,

    u = share C (1[|g| <= C] - gamma) / max(gamma, 1 - gamma),

and the gradient is clipped to sqrt(1 - share^2) C, so that both together stay within C: the step is still one Gaussian
release of sensitivity C, with the same event, and the price is a gradient that is a hair shorter. The sum of u is zero
exactly where C is the quantile, whatever the number of patients, which therefore need not be known.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64
from pydantic import Field
from torch import Tensor

from cmrfed.config import AdaptiveClipping, Stage

ROUNDING_GUARD = 1 - 1e-6
"""Clips a hair below C, so that no rounding of norm, product or sum can carry a patient above it."""

_STABILITY = 0.01
"""Bu et al.'s gamma, as a part of the clipping norm."""


@dataclass(frozen=True)
class Contribution:
    """What is left of patients' gradients: a factor for each patient and weight tensor, and each one's answer u.

    Both are zero for a patient whose gradient is not finite.
    """

    factors: Float64[Tensor, "patient layer"]
    answers: Float64[Tensor, " patient"]


class Clipping(Stage):
    """The rule and the norm C. `adaptive` says how C moves from step to step; None keeps it."""

    max_grad_norm: float = Field(gt=0)
    rule: Literal["norm", "automatic", "per_layer"] = "norm"
    adaptive: AdaptiveClipping | None = None

    def at(self, max_grad_norm: float) -> "Clipping":
        """The same rule at another norm."""
        return self.model_copy(update={"max_grad_norm": max_grad_norm})

    @property
    def largest_norm(self) -> float:
        """The largest C that adaptive clipping may reach from here."""
        return self.max_grad_norm * (self.adaptive.range if self.adaptive else 1.0)

    def contribution(self, layer_norms: Float64[Tensor, "patient layer"]) -> Contribution:
        """From the norms of each patient's gradient, weight tensor by weight tensor, to what may be summed."""
        norms = layer_norms.square().sum(1, keepdim=True).sqrt()
        finite = norms.isfinite()
        factors = self._factors(layer_norms, norms) * self._gradient_share * ROUNDING_GUARD
        answers = self._answers(norms[:, 0])
        zero = torch.zeros((), dtype=torch.float64, device=norms.device)
        return Contribution(torch.where(finite, factors, zero), torch.where(finite[:, 0], answers, zero))

    def _factors(
        self, layer_norms: Float64[Tensor, "patient layer"], norms: Float64[Tensor, "patient 1"]
    ) -> Float64[Tensor, "patient layer"]:
        C = self.max_grad_norm
        if self.rule == "norm":
            return (C / norms.clamp_min(1e-30)).clamp(max=1.0).expand_as(layer_norms)
        if self.rule == "automatic":
            return (C / (norms + _STABILITY * C)).expand_as(layer_norms)
        part = C / math.sqrt(layer_norms.shape[1])
        return part / (layer_norms + _STABILITY * part)

    @property
    def _gradient_share(self) -> float:
        return math.sqrt(1 - self.adaptive.share**2) if self.adaptive else 1.0

    def _answers(self, norms: Float64[Tensor, " patient"]) -> Float64[Tensor, " patient"]:
        if self.adaptive is None:
            return torch.zeros_like(norms)
        return self._answer_scale * ((norms <= self.max_grad_norm).double() - self.adaptive.quantile)

    @property
    def _answer_scale(self) -> float:
        assert self.adaptive
        farthest = max(self.adaptive.quantile, 1 - self.adaptive.quantile)
        return self.adaptive.share * self.max_grad_norm * ROUNDING_GUARD / farthest

    def moved(self, mean_answer: float, start: float) -> "Clipping":
        """C after a step whose released mean answer was this: C exp(-rate x (share of patients below C - gamma)).

        Post-processing of what was released. C stays within `range` of `start`.
        """
        if self.adaptive is None:
            return self
        below = min(max(mean_answer / self._answer_scale, -1.0), 1.0)
        moved = self.max_grad_norm * math.exp(-self.adaptive.learning_rate * below)
        return self.at(min(max(moved, start / self.adaptive.range), start * self.adaptive.range))
