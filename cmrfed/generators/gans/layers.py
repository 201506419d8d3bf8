"""What painters and critics are made of, for slices (row, column) and stacks (level, row, column) alike.

Slices of a stack lie some five times as far apart as pixels, so that grids are made coarser and finer in rows and
columns alone. No layer sees more than one row of a batch.
"""

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.encoders import DenseEncoder, GlobalEncoder
from cmrfed.generators.folding import folded

Features: TypeAlias = Float[Tensor, "batch _ ..."]
"""Channels at each place of a grid, which differs from layer to layer."""
Vectors: TypeAlias = Float[Tensor, "batch _"]
Grid: TypeAlias = Sequence[int]

NOISES = 64
"""Numbers of noise behind an image; a multiple of 16, so that a row's are the same however a batch is cut up."""
SLOPE = 0.2
"""Of leaky rectifiers, below zero."""
_COARSE = 8
"""Places a side of the learned map that an image begins with."""


def spatial_dims(config: GeneratorConfig) -> int:
    return 2 if config.levels == 1 else 3


def conv(dims: int, inside: int, outside: int, side: int = 3) -> nn.Module:
    """A convolution that keeps the grid, with weights by He's rule (He et al. 2015, arXiv:1502.01852): there is not
    always a norm to mend their size."""
    layer = cast(nn.Conv2d | nn.Conv3d, Conv["conv", dims](inside, outside, side, padding=side // 2))
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


def to_pixels(config: GeneratorConfig, inside: int, side: int = 3) -> nn.Module:
    """A convolution to an image's folded pixels, all of a patch alike at first: otherwise each has weights of its own,
    and paintings begin as a chequerboard (Aitken et al. 2017, arXiv:1707.02937)."""
    layer = conv(spatial_dims(config), inside, config.patch**2, side)
    for weight in layer.parameters():
        weight.data.copy_(weight.data[:1].expand_as(weight))
    return layer


def rectified(features: Tensor) -> Tensor:
    return F.leaky_relu(features, SLOPE)


def halved(features: Features) -> Features:
    """Means of two by two places of rows and columns; of a last odd one, itself."""
    if features.ndim == 5:
        return F.avg_pool3d(features, (1, 2, 2), ceil_mode=True)
    return F.avg_pool2d(features, 2, ceil_mode=True)


def stretched(features: Features, grid: Grid) -> Features:
    """On a finer grid, each place as its nearest."""
    return F.interpolate(features, size=list(grid), mode="nearest")


def smoothly_stretched(features: Features, grid: Grid) -> Features:
    """On a finer grid, linearly between places."""
    mode = "trilinear" if features.ndim == 5 else "bilinear"
    return F.interpolate(features, size=list(grid), mode=mode, align_corners=False)


def averaged(features: Features, grid: Grid) -> Features:
    """On a coarser grid, the mean of what falls into each place."""
    return features if tuple(features.shape[2:]) == tuple(grid) else F.interpolate(features, size=grid, mode="area")


def grids(grid: Grid, patch: int, count: int) -> list[tuple[int, ...]]:
    """Grids of features for images on `grid`, coarsest first: folded by `patch`, and halved again and again."""
    *levels, rows, columns = grid
    strides = [patch * 2**number for number in reversed(range(count))]
    return [(*levels, -(-rows // stride), -(-columns // stride)) for stride in strides]


class Dense:
    """What is told of pixels, as channels of folded places."""

    def __init__(self, config: GeneratorConfig) -> None:
        self._encoder, self._patch = DenseEncoder(config.conditions, config.tissue_classes), config.patch

    @property
    def channels(self) -> int:
        return self._encoder.channels * self._patch**2

    def __call__(self, conditions: Conditions, grid: Grid) -> list[Features]:
        """A list of one, or of none where nothing is told. grid: of the image."""
        encoded = self._encoder(conditions, grid)
        return [folded(torch.cat(encoded, dim=1), self._patch)] if encoded else []


class Style(nn.Module):
    """Noise and the conditions of the whole image as one vector."""

    def __init__(self, config: GeneratorConfig, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(NOISES, width), nn.Linear(width, width)
        self.told = GlobalEncoder(config.conditions, width)

    def forward(self, noise: Float[Tensor, "batch noise"], conditions: Conditions) -> Vectors:
        return rectified(self.last(rectified(self.first(noise))) + self.told(conditions))


class CoarseMap(nn.Module):
    """The features an image begins with: a learned map of 8 x 8 places, moved by a vector, on whatever grid is asked
    for: so a painter is of no one size."""

    def __init__(self, config: GeneratorConfig, width: int, channels: int) -> None:
        super().__init__()
        levels = () if config.levels == 1 else (config.levels,)
        self.shape = (channels, *levels, _COARSE, _COARSE)
        self.linear = nn.Linear(width, torch.Size(self.shape).numel())

    def forward(self, vectors: Vectors, grid: Grid) -> Features:
        return smoothly_stretched(self.linear(vectors).unflatten(1, self.shape), grid)


class ModulatedNorm(nn.Module):
    """A group norm without weights of its own, then h (1 + gamma) + beta.

    gamma and beta follow from a vector (AdaIN: Karras et al. 2019, arXiv:1812.04948), and at each place also from the
    channels of dense conditions there (SPADE: Park et al. 2019, arXiv:1903.07291). MONAI's SPADE block norms gamma and
    beta over the image, which takes from them what holds everywhere.
    """

    def __init__(self, config: GeneratorConfig, channels: int, width: int, dense: int) -> None:
        super().__init__()
        dims = spatial_dims(config)
        self.norm = nn.GroupNorm(config.norm_groups, channels, affine=False)
        self.by_vector = nn.Linear(width, 2 * channels)
        self.by_place = (
            nn.Sequential(conv(dims, dense, channels), nn.LeakyReLU(SLOPE), conv(dims, channels, 2 * channels))
            if dense
            else None
        )

    def forward(self, features: Features, vectors: Vectors, dense: Sequence[Features]) -> Features:
        moved = self.by_vector(vectors)
        modulation = moved.reshape(*moved.shape, *[1] * (features.ndim - 2))
        if self.by_place:
            modulation = modulation + self.by_place(torch.cat(list(dense), dim=1))
        gamma, beta = modulation.chunk(2, dim=1)
        return self.norm(features) * (1 + gamma) + beta


class ModulatedBlock(nn.Module):
    """A residual block of two convolutions, each after a modulated norm and a rectifier."""

    def __init__(self, config: GeneratorConfig, inside: int, outside: int, width: int, dense: int) -> None:
        super().__init__()
        dims = spatial_dims(config)
        self.first_norm = ModulatedNorm(config, inside, width, dense)
        self.first = conv(dims, inside, outside)
        self.second_norm = ModulatedNorm(config, outside, width, dense)
        self.second = conv(dims, outside, outside)
        self.shortcut = conv(dims, inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, features: Features, vectors: Vectors, dense: Sequence[Features]) -> Features:
        hidden = self.first(rectified(self.first_norm(features, vectors, dense)))
        return self.shortcut(features) + self.second(rectified(self.second_norm(hidden, vectors, dense)))
