"""What every generator family is: a loss for each example, and samples from masks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cmrfed.config import GeneratorConfig
from cmrfed.generators.network import ConditionalUNet, mark_trainable, refuse_batch_statistics
from cmrfed.shapes import Condition, Image, Mask


@dataclass(frozen=True)
class Draws:
    """The randomness of a batch's loss: times in [0, 1], unit Gaussian noises, and which rows keep their condition."""

    times: Float[Tensor, " batch"]
    noises: Image
    kept: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class Parts:
    """A corrupted image taken apart into what the network says it was made from: x_t = signal image + noise e."""

    image: Image
    noise: Image


class Generator(nn.Module, ABC):
    """A mask-conditioned generator of slices in [-1, 1].

    Subclasses state how a time and a noise corrupt an image, what the network predicts of it, and how samples are
    drawn. The prediction is always a function of (x_t, t, mask, condition, kept).

    Whoever asks how well a generator knows an image need not know its family: every family's times are also noise
    shares, noise / (signal + noise), 0 for an image and 1 for noise, and every prediction is also `Parts`.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.network = ConditionalUNet(config)
        refuse_batch_statistics(self)
        mark_trainable(self, config.trainable)

    @abstractmethod
    def draw_times(self, count: int, random: torch.Generator) -> Float[Tensor, " batch"]:
        """Training times in [0, 1], from the family's density."""

    @abstractmethod
    def target(self, images: Image, noises: Image) -> Image:
        """What the network is to predict of x_t = signal image + noise e."""

    @abstractmethod
    def losses(self, images: Image, masks: Mask, conditions: Condition, draws: Draws) -> Float[Tensor, " batch"]:
        """The training loss of each example, the mean over its pixels; no example sees another."""

    def forward(self, images: Image, masks: Mask, conditions: Condition, draws: Draws) -> Float[Tensor, " batch"]:
        """The losses: what torch's functional transforms call a module for."""
        return self.losses(images, masks, conditions, draws)

    @abstractmethod
    def denoise(self, noises: Image, masks: Mask, conditions: Condition, steps: int, guidance: float) -> Image:
        """Carry unit Gaussian noises to images in [-1, 1] in `steps` deterministic steps."""

    @abstractmethod
    def scales(self, t: Float[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """(signal, noise) at times in [0, 1], each >= 0: x_t = signal x + noise e."""

    @abstractmethod
    def time_at(self, noise_share: float) -> float:
        """The time in [0, 1] at which noise / (signal + noise) is nearest to the given share in [0, 1]."""

    @abstractmethod
    def take_apart(self, prediction: Image, x_t: Image, t: Float[Tensor, " batch"]) -> Parts:
        """What the network's prediction says of x_t."""

    def corrupt(self, images: Image, noises: Image, t: Float[Tensor, " batch"]) -> Image:
        """x_t = signal x + noise e."""
        signal, noise = (scale[:, None, None, None] for scale in self.scales(t))
        return signal * images + noise * noises

    def predicted_parts(
        self, x_t: Image, t: Float[Tensor, " batch"], masks: Mask, conditions: Condition, kept: Bool[Tensor, " batch"]
    ) -> Parts:
        """The image and the unit noise that the network sees in x_t."""
        return self.take_apart(self.network(x_t, t, masks, conditions, kept), x_t, t)

    def predicted_noise(
        self, x_t: Image, t: Float[Tensor, " batch"], masks: Mask, conditions: Condition, kept: Bool[Tensor, " batch"]
    ) -> Image:
        """The unit noise e that the network sees in x_t."""
        return self.predicted_parts(x_t, t, masks, conditions, kept).noise

    def carried(
        self,
        x_t: Image,
        t: Float[Tensor, " batch"],
        to: Float[Tensor, " batch"],
        masks: Mask,
        conditions: Condition,
        kept: Bool[Tensor, " batch"],
    ) -> Image:
        """x at time `to`, towards the noise or away from it, by one deterministic step that keeps both parts.

        DDIM's step with eta = 0 (Song et al. 2020), which for the flow is Euler's: x_t + (to - t) v.
        """
        parts = self.predicted_parts(x_t, t, masks, conditions, kept)
        return self.corrupt(parts.image, parts.noise, to)

    def draw(self, images: Image, random: torch.Generator) -> Draws:
        """Draw times, noises and condition dropout for a batch; on the CPU, so that a seed means the same anywhere."""
        count = len(images)
        times = self.draw_times(count, random)
        noises = torch.randn(images.shape, generator=random)
        kept = torch.rand(count, generator=random) >= self.config.condition_dropout
        return Draws(times.to(images.device), noises.to(images.device), kept.to(images.device))

    @torch.no_grad()
    def sample(
        self, masks: Mask, conditions: Condition, steps: int, random: torch.Generator, guidance: float = 1.0
    ) -> Image:
        """Draw one image for each mask. `guidance` 1 follows the condition; above 1 exaggerates it."""
        noises = torch.randn((len(masks), 1, *masks.shape[1:]), generator=random).to(masks.device)
        return self.denoise(noises, masks, conditions, steps, guidance).clamp(-1, 1)

    def guided(
        self, x_t: Image, t: Float[Tensor, " batch"], masks: Mask, conditions: Condition, guidance: float
    ) -> Image:
        """Classifier-free guidance: unconditional + guidance * (conditional - unconditional)."""
        everything = torch.ones(len(x_t), dtype=torch.bool, device=x_t.device)
        conditional = self.network(x_t, t, masks, conditions, everything)
        if guidance == 1.0:
            return conditional
        unconditional = self.network(x_t, t, masks, conditions, ~everything)
        return unconditional + guidance * (conditional - unconditional)
