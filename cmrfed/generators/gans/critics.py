"""Critics that score patches of images, told of conditions."""

from itertools import pairwise

import torch
from torch import nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.encoders import GlobalEncoder
from cmrfed.generators.folding import folded
from cmrfed.generators.gans.adversarial import Scores
from cmrfed.generators.gans.layers import Dense, Features, averaged, conv, halved, rectified, spatial_dims
from cmrfed.shapes import Image

_HALF = 2**-0.5
"""Of a sum of two, which keeps its variance."""


class CriticBlock(nn.Module):
    """Two convolutions, then half the grid, beside a shortcut (Karras et al. 2020, arXiv:1912.04958). No norm: one over
    an image would hide from the critic how bright it is."""

    def __init__(self, dims: int, inside: int, outside: int) -> None:
        super().__init__()
        self.first, self.second = conv(dims, inside, inside), conv(dims, inside, outside)
        self.shortcut = conv(dims, inside, outside, 1)

    def forward(self, features: Features) -> Features:
        hidden = self.second(rectified(self.first(rectified(features))))
        return (halved(self.shortcut(features)) + halved(hidden)) * _HALF


class PatchCritic(nn.Module):
    """A score at each place of the coarsest grid (Isola et al. 2017, arXiv:1611.07004).

    Dense conditions are channels beside the image; of those of the whole image, e, a score has how well the features h
    agree with them, e . h (Miyato and Koyama 2018, arXiv:1802.05637).
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        dims, widths = spatial_dims(config), config.channels
        self.patch, self.dense = config.patch, Dense(config)
        self.first = conv(dims, config.patch**2 + self.dense.channels, widths[0])
        self.blocks = nn.ModuleList(
            CriticBlock(dims, inside, outside) for inside, outside in pairwise((*widths, widths[-1]))
        )
        self.last = conv(dims, widths[-1], widths[-1])
        self.score = conv(dims, widths[-1], 1, 1)
        self.told = GlobalEncoder(config.conditions, widths[-1])

    def forward(self, images: Image, conditions: Conditions) -> Scores:
        dense = self.dense(conditions, conditions["mask"].shape[1:])
        image = folded(images, self.patch)
        features = self.first(torch.cat([image, *(averaged(one, image.shape[2:]) for one in dense)], dim=1))
        for block in self.blocks:
            features = block(features)
        features = rectified(self.last(rectified(features)))
        return [scored(features, self.score, self.told(conditions))]


def scored(features: Features, score: nn.Module, embedded: torch.Tensor) -> torch.Tensor:
    """(batch, place): the score of each place, and how well it agrees with what is told of the whole image."""
    agreement = torch.einsum("bc...,bc->b...", features, embedded) / features.shape[1] ** 0.5
    return (score(features)[:, 0] + agreement).flatten(1)


class MultiScaleCritic(nn.Module):
    """Patch critics of the image and of its means over two by two pixels (Wang et al. 2018, arXiv:1711.11585)."""

    def __init__(self, config: GeneratorConfig, scales: int = 2) -> None:
        super().__init__()
        self.critics = nn.ModuleList(PatchCritic(config) for _ in range(scales))

    def forward(self, images: Image, conditions: Conditions) -> Scores:
        scores: Scores = []
        for critic in self.critics:
            scores += critic(images, conditions)
            images = halved(images)
        return scores
