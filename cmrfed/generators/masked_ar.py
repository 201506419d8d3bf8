"""Masked autoregression over continuous latents (MAR, Li et al. 2024, arXiv:2406.11838), told of the heart's phenotypes
as in CPGG (Li et al. 2025, arXiv:2505.03426).

A transformer says what it knows of each hidden place; a small network that is told of it carries noise to the place's
latent, by itself. In training the share of hidden places is normal about 1, cut off below 0.7; the loss is the small
network's, at several times for each place. A sample is filled in over `sampling.steps` rounds in an order drawn at
random, so many places in each as the cosine schedule has.

Ours: the small network walks a rectified flow and not DDPM's path; seen and hidden places go through one transformer,
that of MaskGIT; latents are normalised for each image by itself.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cmrfed.batches import Batch, Conditions, nothing_of
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.generators.contract import Generator, Objective, refuse_stacks
from cmrfed.generators.hiding import draw_hidden, told_conditions, with_nothing_hidden
from cmrfed.generators.masked import (
    MaskedTransformer,
    ModulatedNorm,
    Places,
    RowStreams,
    Seen,
    first_places,
    hidden_places,
)
from cmrfed.generators.tokenizer import Autoencoder, Normalised, Tokenizing
from cmrfed.shapes import Image, Latent, at_least_single

LEAST_HIDDEN = 0.7
SPREAD = 0.25
"""Standard deviation of the share of places that are hidden in training."""
TIMES = 4
"""Of the flow, at which each hidden place is learnt at once: what the transformer says of it serves them all."""
FLOW_STEPS = 20
DEPTH = 3
"""Of the small network."""
WAVES = 8
"""Cosines that tell it the time."""


class PlaceFlow(nn.Module):
    """v(x_t, t, z) of one place: x_t = t x_1 + (1 - t) x_0 between noise x_0 and latent x_1, and v = x_1 - x_0."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(channels, width)
        self.known, self.time = nn.Linear(width, width), nn.Linear(WAVES, width)
        self.norms = nn.ModuleList(ModulatedNorm(width) for _ in range(DEPTH + 1))
        layers = (nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(DEPTH))
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(width, channels)

    def forward(
        self, x_t: Float[Tensor, "*places channel"], t: Float[Tensor, "*places"], known: Float[Tensor, "*places width"]
    ) -> Float[Tensor, "*places channel"]:
        waves = (math.pi * t[..., None] * torch.arange(WAVES, device=t.device)).cos().to(x_t.dtype)
        known = self.known(known) + self.time(waves)
        hidden, told = self.first(x_t) + known, F.silu(known)
        for norm, layer in zip(self.norms, self.layers, strict=False):
            hidden = hidden + layer(norm(hidden, told))
        return at_least_single(self.last(self.norms[-1](hidden, told)))


class MaskedAR(Generator):
    def __init__(self, config: GeneratorConfig) -> None:
        refuse_stacks(config)
        super().__init__(config)
        self.autoencoder = Autoencoder(config, Normalised())
        self.transformer = MaskedTransformer(config, self.autoencoder.channels, self.autoencoder.stride)
        self.flow = PlaceFlow(self.autoencoder.channels, self.transformer.width)

    @property
    def objectives(self) -> Sequence[Objective]:
        tokenizing = Tokenizing(self.autoencoder)
        return tokenizing, Completing(self, after=tokenizing.stage)

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        masks = conditions["mask"]
        rows, grid = len(masks), self.autoencoder.grid(masks.shape[1:])
        streams, places = RowStreams(rows, random, masks.device), grid[0] * grid[1]
        order = streams.uniform((places,)).argsort(dim=1, stable=True)
        latents = streams.normal((places, self.autoencoder.channels))
        seen = torch.zeros(rows, places, dtype=torch.bool, device=masks.device)
        ends = [places - hidden_places(step / sampling.steps, places) for step in range(sampling.steps + 1)]
        for start, end in pairwise(ends):
            if end > start:
                latents = self._filled_in(latents, seen, order[:, start:end], grid, conditions, sampling.guidance)
                seen = seen.scatter(1, order[:, start:end], True)
        return self.autoencoder.decode(_on(grid, latents)).clamp(-1, 1)

    def _filled_in(
        self,
        latents: Places,
        seen: Seen,
        chosen: Int[Tensor, "batch some"],
        grid: Sequence[int],
        conditions: Conditions,
        guidance: float,
    ) -> Places:
        """The latents with those of chosen places carried from noise to what the others say of them; with guidance,
        along unconditional + guidance * (conditional - unconditional)."""
        told = [conditions] if guidance == 1.0 else [conditions, nothing_of(conditions)]
        known = [_of(self.transformer(_on(grid, latents), seen, one), chosen) for one in told]
        x_t = _of(latents, chosen)
        for step in range(FLOW_STEPS):
            t = torch.full(chosen.shape, step / FLOW_STEPS, device=x_t.device)
            conditional, *unconditional = (self.flow(x_t, t, one) for one in known)
            v = unconditional[0] + guidance * (conditional - unconditional[0]) if unconditional else conditional
            x_t = x_t + v / FLOW_STEPS
        return latents.scatter(1, chosen[..., None].expand(x_t.shape), x_t)


def _on(grid: Sequence[int], places: Places) -> Latent:
    return places.transpose(1, 2).unflatten(2, list(grid))


def _of(places: Places, chosen: Int[Tensor, "batch some"]) -> Float[Tensor, "batch some width"]:
    return places.gather(1, chosen[..., None].expand(-1, -1, places.shape[2]))


class Completing(Objective):
    """The flow's loss at hidden places, the mean over them and their times."""

    name = "completing"

    def __init__(self, generator: MaskedAR, after: int | None) -> None:
        self.generator = generator
        self.stage = 0 if after is None else after + 1

    def weights(self) -> Iterator[nn.Parameter]:
        yield from self.generator.transformer.parameters()
        yield from self.generator.flow.parameters()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        with torch.no_grad():
            latents = self.generator.autoencoder.encode(batch.images)
        rows, places = batch.size, latents[0, 0].numel()
        shares = nn.init.trunc_normal_(torch.empty(rows), 1.0, SPREAD, LEAST_HIDDEN, 1.0, generator=random)
        draws = {
            "latents": latents,
            "count": (shares * places).ceil().long(),
            "order": torch.rand(rows, places, generator=random),
            "times": torch.rand(rows, TIMES, places, generator=random),
            "noises": torch.randn(rows, TIMES, places, latents.shape[1], generator=random),
            **draw_hidden(self.generator.config, rows, random),
        }
        return batch._replace(draws=draws).to(batch.images.device)

    def told(self, batch: Batch) -> Batch:
        return with_nothing_hidden(batch)

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        latents, noises, t = (batch.draws[name] for name in ("latents", "noises", "times"))
        hidden = first_places(batch.draws["order"], batch.draws["count"][:, None])
        known = self.generator.transformer(latents, ~hidden, told_conditions(batch))[:, None].expand(-1, TIMES, -1, -1)
        x_1 = latents.flatten(2).transpose(1, 2)[:, None].expand(noises.shape)
        x_t = t[..., None] * x_1 + (1 - t[..., None]) * noises
        missed = (self.generator.flow(x_t, t, known) - (x_1 - noises)).square().mean(dim=(1, 3))
        return (missed * hidden).sum(1) / hidden.sum(1)
