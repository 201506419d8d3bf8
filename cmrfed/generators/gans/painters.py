"""Painters: from noise and conditions to an image in [-1, 1], on the grid of the mask."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.folding import unfolded
from cmrfed.generators.gans.adversarial import Noise
from cmrfed.generators.gans.layers import (
    CoarseMap,
    Dense,
    Features,
    Grid,
    ModulatedBlock,
    ModulatedNorm,
    Style,
    Vectors,
    averaged,
    conv,
    grids,
    rectified,
    spatial_dims,
    stretched,
    to_pixels,
)
from cmrfed.shapes import Image


class StyledBlocks(nn.Module):
    """Residual blocks from a coarse map to the image's grid, modulated by a vector and, at each place, by dense
    conditions. dense: how many channels these have, folded."""

    def __init__(self, config: GeneratorConfig, width: int, dense: int) -> None:
        super().__init__()
        widths = config.channels[::-1]
        self.patch, self.blocks_a_level = config.patch, config.residual_blocks
        self.coarse = CoarseMap(config, width, widths[0])
        outsides = [one for one in widths for _ in range(config.residual_blocks)]
        self.blocks = nn.ModuleList(
            ModulatedBlock(config, *pair, width, dense) for pair in pairwise((widths[0], *outsides))
        )
        self.norm = ModulatedNorm(config, widths[-1], width, dense)
        self.last = to_pixels(config, widths[-1])

    def forward(self, vectors: Vectors, dense: Sequence[Features], grid: Grid) -> Image:
        steps = grids(grid, self.patch, len(self.blocks) // self.blocks_a_level)
        features: Features = self.coarse(vectors, steps[0])
        for number, block in enumerate(self.blocks):
            step = steps[number // self.blocks_a_level]
            features = block(stretched(features, step), vectors, [averaged(one, step) for one in dense])
        return unfolded(self.last(rectified(self.norm(features, vectors, dense))), self.patch).tanh()


class StyledPainter(nn.Module):
    """Styled blocks, told by a style of noise and the conditions of the whole image, and by dense ones."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width, self.dense = config.channels[-1], Dense(config)
        self.style, self.blocks = Style(config, width), StyledBlocks(config, width, self.dense.channels)

    def forward(self, noise: Noise, conditions: Conditions) -> Image:
        grid = conditions["mask"].shape[1:]
        image: Image = self.blocks(self.style(noise, conditions), self.dense(conditions, grid), grid)
        return image


class ConvPainter(nn.Module):
    """Plain convolutions from a coarse map to the image's grid, each with a group norm and a rectifier; two a block.

    Dense conditions are channels beside the features of each.

    Grids are made finer by repeating places, and not by transposed convolutions, which leave a chequerboard (Odena et
    al. 2016, doi:10.23915/distill.00003).
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        dims, widths = spatial_dims(config), config.channels[::-1]
        self.patch, self.dense = config.patch, Dense(config)
        self.style = Style(config, widths[0])
        self.coarse = CoarseMap(config, widths[0], widths[0])
        self.layers_a_level = 2 * config.residual_blocks
        outsides = [one for one in widths for _ in range(self.layers_a_level)]
        self.layers = nn.ModuleList(
            conv(dims, inside + self.dense.channels, outside) for inside, outside in pairwise((widths[0], *outsides))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(config.norm_groups, outside) for outside in outsides)
        self.last = to_pixels(config, widths[-1])

    def forward(self, noise: Noise, conditions: Conditions) -> Image:
        grid = conditions["mask"].shape[1:]
        dense = self.dense(conditions, grid)
        steps = grids(grid, self.patch, len(self.layers) // self.layers_a_level)
        features: Features = self.coarse(self.style(noise, conditions), steps[0])
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            step = steps[number // self.layers_a_level]
            beside = [averaged(one, step) for one in dense]
            features = rectified(norm(layer(torch.cat([stretched(features, step), *beside], dim=1))))
        return unfolded(self.last(features), self.patch).tanh()
