"""Generators that carry noise to an image along a path, with any network in any space, and can be asked at any
noise."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from cmrfed.batches import Batch, Conditions, nothing_of
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.generators.contract import Generator, Objective
from cmrfed.generators.directions import Directions
from cmrfed.generators.hiding import draw_hidden, told_conditions, with_nothing_hidden
from cmrfed.generators.networks.contract import Network
from cmrfed.generators.path import Parts, Path, Times
from cmrfed.generators.samplers import Sampler, Seen
from cmrfed.generators.spaces import Space
from cmrfed.members import NETWORKS, SAMPLERS, SPACES
from cmrfed.shapes import Image, Latent, Mask

DIRECTIONS = "directions"
"""The value of `generator.trainable` by which a network is moved in few directions of its modulation."""


@dataclass(frozen=True)
class SharedNoise:
    """What the noises of one heart's slices have in common. share: of their variance. seed: the heart's own."""

    seed: int
    share: float

    def within(self, noises: Latent) -> Latent:
        """The noises with their common part; each by itself is a unit Gaussian as before."""
        random = torch.Generator().manual_seed(self.seed)
        common = torch.randn((1, *noises.shape[1:]), generator=random).to(noises)
        return math.sqrt(self.share) * common + math.sqrt(1 - self.share) * noises


class Denoiser(Generator):
    """A path, the space it runs in, and a network that walks it.

    It has a *noise view*, which a generator without a path has not: `time_at`, `alpha_sigma`, `corrupt`, `losses_at`,
    `predict_x0_eps` and `ddim_step` say how well it knows an image at any noise share. Attacks ask for it. All of these
    speak of latents, as `encoded` makes them; in the space of pixels these are the images.
    """

    def __init__(self, config: GeneratorConfig, path: Path, space: Space | None = None) -> None:
        """space: the one of that name in the configuration, where no other is given."""
        super().__init__(config)
        network = NETWORKS.load(config.network)
        if (network.spatial_dims == 3) != (config.levels > 1):
            takes = "stacks: set it above 1" if network.spatial_dims == 3 else "slices: set it to 1"
            raise UserError(f"generator.levels: network {config.network} takes {takes} (found {config.levels})")
        self.space: Space = space or SPACES.load(config.space)(config)
        self.network: Network = network(config, self.channels)
        self.directions = self._directions() if config.trainable == DIRECTIONS else None
        self.path = path
        self._shared: SharedNoise | None = None

    def _directions(self) -> Directions:
        return Directions(self.network, list(self.network.group("modulation")), self.config.directions)

    @property
    def objectives(self) -> Sequence[Objective]:
        return *self.space.objectives, self.denoising

    @property
    def denoising(self) -> "Denoising":
        """What the path is learnt by, whatever the present stage."""
        return Denoising(self)

    @property
    def channels(self) -> int:
        """Of what the path carries."""
        return self.space.channels

    def encoded(self, batch: Batch) -> Latent:
        """What the path carries of a batch's rows; without noise."""
        return self.space.encode(batch.images)

    def decoded(self, latents: Latent) -> Image:
        """The images of what the path carried, in [-1, 1] once clamped."""
        return self.space.decode(latents)

    def trained(self) -> Iterable[nn.Parameter]:
        """The weights that `generator.trainable` names."""
        return [self.directions.coordinates] if self.directions else self.network.group(self.config.trainable)

    def time_at(self, noise_share: float) -> float:
        """The time in [0, 1] at which noise / (signal + noise) is nearest to the given share in [0, 1]."""
        return self.path.time_at(noise_share)

    def alpha_sigma(self, t: Times) -> tuple[Times, Times]:
        """(signal, noise) at times in [0, 1], each >= 0."""
        return self.path.alpha_sigma(t)

    def corrupt(self, images: Latent, noises: Latent, t: Times) -> Latent:
        """x_t = signal x + noise e."""
        return self.path.corrupt(Parts(images, noises), t)

    def losses_at(self, images: Latent, noises: Latent, t: Times, conditions: Conditions) -> Float[Tensor, " batch"]:
        """The training loss of each row at the given times and unit Gaussian noises, the mean over its pixels."""
        parts = Parts(images, noises)
        prediction = self.predict(self.path.corrupt(parts, t), t, conditions)
        return self.error(prediction, self.path.target(parts, t), images)

    def error(self, prediction: Latent, target: Latent, images: Latent) -> Float[Tensor, " batch"]:
        """How far a prediction is off, for each row of these images: its mean squared difference over pixels."""
        return (prediction - target).square().flatten(1).mean(1)

    def predict(self, x_t: Latent, t: Times, conditions: Conditions, guidance: float = 1.0) -> Latent:
        """What the network says of x_t; with classifier-free guidance, unconditional + guidance * (conditional -
        unconditional)."""
        told = self.path.network_times(t)
        conditional = self._said(x_t, told, conditions)
        if guidance == 1.0:
            return conditional
        unconditional = self._said(x_t, told, nothing_of(conditions))
        return unconditional + guidance * (conditional - unconditional)

    def _said(self, *told: Any) -> Latent:
        """What the network says, moved where its directions lead."""
        moved = self.directions.moved(self.network) if self.directions else {}
        return functional_call(self.network, moved, told) if moved else self.network(*told)

    def predict_x0_eps(self, x_t: Latent, t: Times, conditions: Conditions, guidance: float = 1.0) -> Parts:
        """The image and the unit noise that the network sees in x_t."""
        return self.path.to_x0_eps(self.predict(x_t, t, conditions, guidance), x_t, t)

    def ddim_step(self, x_t: Latent, t: Times, to: Times, conditions: Conditions) -> Latent:
        """x at time `to`, towards the noise or away from it, by one deterministic step that keeps both parts.

        DDIM's step with eta = 0 (Song et al. 2020), which for the flow is Euler's: x_t + (to - t) v.
        """
        return self.path.corrupt(self.predict_x0_eps(x_t, t, conditions), to)

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        """Unit Gaussian noise, carried to an image in `sampling.steps` deterministic steps."""
        noises = self.noises(conditions["mask"], random)
        return self.decoded(self.denoise(noises, conditions, sampling)).clamp(-1, 1)

    def noises(self, masks: Mask, random: torch.Generator) -> Latent:
        """Unit Gaussian noises for images on the masks' grid."""
        noises = torch.randn((len(masks), *self.latent_shape(masks.shape[1:])), generator=random).to(masks.device)
        return self.of_one_heart(noises)

    @contextmanager
    def sharing(self, shared: SharedNoise) -> Iterator[None]:
        """What is sampled meanwhile is of one heart: it looks alike from slice to slice, as scans of one patient do."""
        self._shared = shared
        try:
            yield
        finally:
            self._shared = None

    def of_one_heart(self, noises: Latent) -> Latent:
        """With what they have in common, where they are of one heart."""
        return self._shared.within(noises) if self._shared else noises

    def latent_shape(self, grid: Sequence[int]) -> tuple[int, ...]:
        """Of one latent of an image on that grid."""
        *levels, rows, columns = grid
        return self.channels, *levels, rows // self.space.stride, columns // self.space.stride

    def denoise(self, noises: Latent, conditions: Conditions, sampling: SamplingConfig) -> Latent:
        """What unit Gaussian noises are carried to."""
        times = self.path.sampling_times(sampling.steps).to(noises.device)
        sampler: Sampler = SAMPLERS.load(sampling.sampler)
        return sampler(self.path, self.asked(noises, conditions, sampling.guidance), noises, times)

    def asked(self, noises: Latent, conditions: Conditions, guidance: float) -> Seen:
        """What a sampler asks at each of its times, on the way from these noises."""
        return partial(self.seen, conditions=conditions, guidance=guidance)

    def seen(self, x_t: Latent, t: Times, conditions: Conditions, guidance: float = 1.0) -> Parts:
        """`predict_x0_eps` as a sampler takes it: the image within its bounds where the path keeps it there."""
        parts = self.predict_x0_eps(x_t, t, conditions, guidance)
        return Parts(parts.image.clamp(-1, 1), parts.noise) if self._clips else parts

    @property
    def _clips(self) -> bool:
        return self.path.clips and self.space.bounded


class Denoising(Objective):
    """The path's loss at random times, with conditions hidden now and then: all of them together for guidance, and each
    by itself for those who do not know it."""

    name = "denoising"

    def __init__(self, generator: Denoiser) -> None:
        self.generator = generator
        self.stage = generator.space.first_stage

    def weights(self) -> Iterator[nn.Parameter]:
        yield from self.generator.trained()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        with torch.no_grad():
            images, config = self.generator.encoded(batch), self.generator.config
        draws = {
            "times": self.generator.path.draw_times(len(images), random),
            "noises": torch.randn(images.shape, generator=random),
            **draw_hidden(config, len(images), random),
        }
        return batch._replace(images=images, draws={name: one.to(images.device) for name, one in draws.items()})

    def told(self, batch: Batch) -> Batch:
        return with_nothing_hidden(batch)

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        draws = batch.draws
        return self.generator.losses_at(batch.images, draws["noises"], draws["times"], told_conditions(batch))
