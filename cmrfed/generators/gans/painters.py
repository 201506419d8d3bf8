"""Painters: from noise and conditions to an image in [-1, 1], on the grid of the mask."""

from itertools import pairwise

import torch
from torch import nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.encoders import GlobalEncoder
from cmrfed.generators.folding import unfolded
from cmrfed.generators.gans.adversarial import Noise
from cmrfed.generators.gans.layers import (
    CoarseMap,
    Dense,
    Features,
    ModulatedBlock,
    ModulatedNorm,
    Style,
    averaged,
    biased,
    conv,
    grids,
    rectified,
    spatial_dims,
    stretched,
)
from cmrfed.shapes import Image


class StyledPainter(nn.Module):
    """Residual blocks from a coarse map to the image's grid, modulated by a style of noise and conditions and, at each
    place, by dense conditions."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        dims, widths = spatial_dims(config), config.channels[::-1]
        self.patch, self.dense, told = config.patch, Dense(config), widths[0]
        self.style = Style(config, told)
        self.coarse = CoarseMap(config, told, widths[0])
        self.blocks_a_level = config.residual_blocks
        wide = [width for width in widths for _ in range(config.residual_blocks)]
        self.blocks = nn.ModuleList(
            ModulatedBlock(config, before, width, told, self.dense.channels)
            for before, width in pairwise((widths[0], *wide))
        )
        self.norm = ModulatedNorm(config, widths[-1], told, self.dense.channels)
        self.last = conv(dims, widths[-1], config.patch**2)

    def forward(self, noise: Noise, conditions: Conditions) -> Image:
        grid = conditions["mask"].shape[1:]
        style, dense = self.style(noise, conditions), self.dense(conditions, grid)
        steps = grids(grid, self.patch, len(self.blocks) // self.blocks_a_level)
        features: Features = self.coarse(style, steps[0])
        for number, block in enumerate(self.blocks):
            step = steps[number // self.blocks_a_level]
            features = block(stretched(features, step), style, [averaged(one, step) for one in dense])
        return unfolded(self.last(rectified(self.norm(features, style, dense))), self.patch).tanh()


class ConvPainter(nn.Module):
    """Plain convolutions from a coarse map to the image's grid, each with a group norm and a rectifier.

    Dense conditions are channels beside the features of each.

    Grids are made finer by repeating places, and not by transposed convolutions, which leave a chequerboard (Odena et
    al. 2016, doi:10.23915/distill.00003).

    biased: whether what is told of the whole image is added to the features of every level too, and not only to the
    style that the image begins with.
    """

    def __init__(self, config: GeneratorConfig, biased: bool = False) -> None:
        super().__init__()
        dims, widths = spatial_dims(config), config.channels[::-1]
        self.patch, self.dense = config.patch, Dense(config)
        self.style = Style(config, widths[0])
        self.coarse = CoarseMap(config, widths[0], widths[0])
        self.layers = nn.ModuleList(
            conv(dims, before + self.dense.channels, width) for before, width in pairwise((widths[0], *widths))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(config.norm_groups, width) for width in widths)
        self.biases = nn.ModuleList(GlobalEncoder(config.conditions, width) for width in widths if biased)
        self.last = conv(dims, widths[-1], config.patch**2)

    def forward(self, noise: Noise, conditions: Conditions) -> Image:
        grid = conditions["mask"].shape[1:]
        dense = self.dense(conditions, grid)
        steps = grids(grid, self.patch, len(self.layers))
        features: Features = self.coarse(self.style(noise, conditions), steps[0])
        for level, step in enumerate(steps):
            beside = [averaged(one, step) for one in dense]
            features = self.layers[level](torch.cat([stretched(features, step), *beside], dim=1))
            features = self.norms[level](features)
            if self.biases:
                features = biased(features, self.biases[level](conditions))
            features = rectified(features)
        return unfolded(self.last(features), self.patch).tanh()
