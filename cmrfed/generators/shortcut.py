"""Shortcut models (Frans et al. 2024, arXiv:2410.12557): one flow that is told how far to go at once.

The network predicts the mean velocity s(x_t, t, d) over a way of length d, so that x_t + d s(x_t, t, d) is the point at
t + d. At d = 0 it is the rectified flow's velocity, and a long way is two half as long, one after the other:

    s(x_t, t, d) = (s(x_t, t, d/2) + s(x', t + d/2, d/2)) / 2,    x' = x_t + d/2 s(x_t, t, d/2).

So one training gives a generator of one step or of many. The half ways are what the network itself says, and are not
learnt from; no average of weights is kept for them, as the paper does, for a site trains for few steps.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.batches import Batch, Conditions, nothing_of
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.generators.contract import Objective
from cmrfed.generators.denoiser import Denoiser, Denoising
from cmrfed.generators.flow import Flow
from cmrfed.generators.hiding import told_conditions
from cmrfed.generators.path import Times
from cmrfed.shapes import Latent, spread

LONG_SHARE = 0.25
"""Of rows that learn long ways, the others learn the velocity."""
HALVINGS = 5
"""Long ways are 1, 1/2, ... 1/2^5 of the whole."""


class Shortcut(Denoiser):
    """In the noise view, at d = 0, it is a flow."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config.model_copy(update={"conditions": (*config.conditions, "step")}), Flow())
        self.config = config

    @property
    def objectives(self) -> Sequence[Objective]:
        return *self.space.objectives, _Shortcuts(self)

    def velocity(self, x_t: Latent, t: Times, d: Times, conditions: Conditions, guidance: float = 1.0) -> Latent:
        """s(x_t, t, d); guidance steers it as it does a flow's."""
        told = conditions | {"step": d}
        conditional = self._said(x_t, t, told)
        if guidance == 1.0:
            return conditional
        unconditional = self._said(x_t, t, nothing_of(conditions) | {"step": d})
        return unconditional + guidance * (conditional - unconditional)

    def predict(self, x_t: Latent, t: Times, conditions: Conditions, guidance: float = 1.0) -> Latent:
        """The flow's velocity."""
        return self.velocity(x_t, t, torch.zeros_like(t), conditions, guidance)

    def denoise(self, noises: Latent, conditions: Conditions, sampling: SamplingConfig) -> Latent:
        """As many steps as asked for, all of one length."""
        d = torch.full((noises.shape[0],), 1 / sampling.steps, device=noises.device)
        x_t = noises
        for step in range(sampling.steps):
            x_t = x_t + self.velocity(x_t, step * d, d, conditions, sampling.guidance) / sampling.steps
        return x_t


class _Shortcuts(Denoising):
    """|s(x_t, t, 0) - (x_1 - x_0)|^2, or in some rows |s(x_t, t, d) - target|^2 with the target of two half ways."""

    name = "shortcuts"
    generator: Shortcut

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        drawn = super().drawn(batch, random)
        rows = drawn.size
        long = torch.rand(rows, generator=random) < LONG_SHARE
        d = 0.5 ** torch.randint(HALVINGS + 1, (rows,), generator=random)
        places = (torch.rand(rows, generator=random) / d).floor() * d  # whole multiples of d before the end
        draws = {"step": torch.where(long, d, 0.0), "long times": torch.where(long, places, 0.0)}
        device = drawn.images.device
        draws = {name: one.to(device) for name, one in draws.items()}
        draws["times"] = torch.where(draws["step"] > 0, draws.pop("long times"), drawn.draws["times"])
        return drawn._replace(draws=drawn.draws | draws)

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        conditions = told_conditions(batch)
        t, d, noises = (batch.draws[name] for name in ("times", "step", "noises"))
        x_t = self.generator.corrupt(batch.images, noises, t)
        half = d / 2
        first = self.generator.velocity(x_t, t, half, conditions).detach()
        middle = x_t + spread(half, x_t) * first
        second = self.generator.velocity(middle, t + half, half, conditions).detach()
        target = torch.where(spread(d > 0, x_t), (first + second) / 2, batch.images - noises)
        return (self.generator.velocity(x_t, t, d, conditions) - target).square().flatten(1).mean(1)
