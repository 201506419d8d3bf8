"""Generators that carry noise to an image along a path, with any network in any space, and can be asked at any
noise."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from cmrfed.batches import Batch, Conditions
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.generators.contract import Generator, Objective
from cmrfed.generators.directions import Directions
from cmrfed.generators.hiding import all_hidden, draw_hidden, told_conditions, with_nothing_hidden
from cmrfed.generators.networks.contract import Network
from cmrfed.generators.path import Parts, Path, Times
from cmrfed.generators.samplers import Sampler
from cmrfed.generators.spaces import Space
from cmrfed.members import NETWORKS, SAMPLERS, SPACES
from cmrfed.shapes import Image, Latent

DIRECTIONS = "directions"
"""The value of `generator.trainable` by which a network is moved in few directions of its modulation."""


class Denoiser(Generator):
    """A path, the space it runs in, and a network that walks it.

    It has a *noise view*, which a generator without a path has not: `time_at`, `alpha_sigma`, `corrupt`, `losses_at`,
    `predict_x0_eps` and `ddim_step` say how well it knows an image at any noise share. Attacks ask for it. All of these
    speak of latents, as `space.encode` makes them; in the space of pixels these are the images.
    """

    def __init__(self, config: GeneratorConfig, path: Path) -> None:
        super().__init__(config)
        network = NETWORKS.load(config.network)
        if (network.spatial_dims == 3) != (config.levels > 1):
            takes = "stacks: set it above 1" if network.spatial_dims == 3 else "slices: set it to 1"
            raise UserError(f"generator.levels: network {config.network} takes {takes} (found {config.levels})")
        self.space: Space = SPACES.load(config.space)(config)
        self.network: Network = network(config, self.space.channels)
        self.directions = self._directions() if config.trainable == DIRECTIONS else None
        self.path = path

    def _directions(self) -> Directions:
        return Directions(self.network, list(self.network.group("modulation")), self.config.directions)

    @property
    def objectives(self) -> Sequence[Objective]:
        return *self.space.objectives, Denoising(self)

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
        return (prediction - self.path.target(parts, t)).square().flatten(1).mean(1)

    def predict(self, x_t: Latent, t: Times, conditions: Conditions, guidance: float = 1.0) -> Latent:
        """What the network says of x_t; with classifier-free guidance, unconditional + guidance * (conditional -
        unconditional)."""
        told = self.path.network_times(t)
        conditional = self._asked(x_t, told, conditions)
        if guidance == 1.0:
            return conditional
        unconditional = self._asked(x_t, told, all_hidden(conditions))
        return unconditional + guidance * (conditional - unconditional)

    def _asked(self, *told: Any) -> Latent:
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
        masks = conditions["mask"]
        *levels, rows, columns = masks.shape[1:]
        grid = (*levels, rows // self.space.stride, columns // self.space.stride)
        noises = torch.randn((len(masks), self.space.channels, *grid), generator=random).to(masks.device)
        return self.space.decode(self.denoise(noises, conditions, sampling)).clamp(-1, 1)

    def denoise(self, noises: Latent, conditions: Conditions, sampling: SamplingConfig) -> Latent:
        """What unit Gaussian noises are carried to."""
        times = self.path.sampling_times(sampling.steps).to(noises.device)
        seen = partial(self.seen, conditions=conditions, guidance=sampling.guidance)
        sampler: Sampler = SAMPLERS.load(sampling.sampler)
        return sampler(self.path, seen, noises, times)

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
        self.stage = 1 + max((one.stage for one in generator.space.objectives if one.stage is not None), default=-1)

    def weights(self) -> Iterator[nn.Parameter]:
        yield from self.generator.trained()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        with torch.no_grad():
            images, config = self.generator.space.encode(batch.images), self.generator.config
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
