"""Transversal GAN (Bergen et al. 2022, arXiv:2206.06448): stacks, slice by slice, from vectors that follow one another.

One network makes a vector for each level of the stack, along which its convolutions run; another paints the slice of
each; a critic of three dimensions sees whether they belong together. Theirs paints tumours by their masks, in PET.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators.gans.adversarial import HINGE, Adversarial, Noise
from cmrfed.generators.gans.critics import PatchCritic
from cmrfed.generators.gans.layers import Dense, Features, Style, Vectors, rectified
from cmrfed.generators.gans.painters import StyledBlocks
from cmrfed.shapes import Image


class Transversal(nn.Module):
    """A vector for each level of a stack, from one: a learned place for each, and two convolutions along them."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(width, levels))
        self.first, self.second = (nn.Conv1d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, vectors: Vectors) -> Features:
        """(batch, width, level)."""
        along = vectors[:, :, None] + self.places
        return along + self.second(rectified(self.first(rectified(along))))


class StackPainter(nn.Module):
    """Slices that share the style of noise and conditions, each from its own level's vector."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width, self.dense = config.channels[-1], Dense(config)
        self.style, self.transversal = Style(config, width), Transversal(width, config.levels)
        self.slices = StyledBlocks(config.model_copy(update={"levels": 1}), width, self.dense.channels)

    def forward(self, noise: Noise, conditions: Conditions) -> Image:
        grid = conditions["mask"].shape[1:]
        vectors = self.transversal(self.style(noise, conditions))
        dense = [_by_slice(one) for one in self.dense(conditions, grid)]
        slices: Image = self.slices(_by_slice(vectors), dense, grid[1:])
        return slices.unflatten(0, (-1, grid[0])).movedim(1, 2)


def _by_slice(features: Features) -> Float[Tensor, "slice _ ..."]:
    """(batch, channel, level, ...) as rows of slices."""
    return features.movedim(2, 1).flatten(0, 1)


class VolumeGAN(Adversarial):
    """The paper's critic is one of a Wasserstein GAN; here it plays the hinge game."""

    game = HINGE

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        if config.levels == 1:
            raise UserError("generator.levels: family volume_gan paints stacks: set it above 1 (found 1)")
        self.painter = StackPainter(config)
        self.critic = PatchCritic(config)
