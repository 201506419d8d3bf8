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


class Generator(nn.Module, ABC):
    """A mask-conditioned generator of slices in [-1, 1].

    Subclasses state how a time and a noise corrupt an image, what the network predicts of it, and how samples are
    drawn. The prediction is always a function of (x_t, t, mask, condition, kept).
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
    def losses(self, images: Image, masks: Mask, conditions: Condition, draws: Draws) -> Float[Tensor, " batch"]:
        """The training loss of each example, the mean over its pixels; no example sees another."""

    def forward(self, images: Image, masks: Mask, conditions: Condition, draws: Draws) -> Float[Tensor, " batch"]:
        """The losses: what torch's functional transforms call a module for."""
        return self.losses(images, masks, conditions, draws)

    @abstractmethod
    def denoise(self, noises: Image, masks: Mask, conditions: Condition, steps: int, guidance: float) -> Image:
        """Carry unit Gaussian noises to images in [-1, 1] in `steps` deterministic steps."""

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
