"""Strong classical augmentation: what synthetic images must beat, for it costs no patient's privacy.

nnU-Net's set (Isensee et al., Nature Methods 2021) with two that are of MRI: a coil's bias field, and an elastic
deformation of the anatomy. Resolution is lost where a scanner loses it, in k-space: x -> F^-1[window F[x]].
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from cmrfed.evaluation.utility.metrics.augmentation import random_grid, random_intensities, uniform, warp
from cmrfed.shapes import Image, Mask

PROBABILITY = 0.5
"""Each deformation is applied to an image with this probability, independently."""
ELASTIC_NODES, ELASTIC = 5, 0.08
"""Control points a side, and the largest displacement of one, where the image is 2 wide."""
BIAS_NODES, LOG_BIAS = 3, 0.5
LOWEST_RESOLUTION = 0.4
"""The smallest part of k-space that is kept along each axis."""
LOG_GAMMA = 0.5
"""On top of the light augmentation's."""


def augment_strongly(images: Image, masks: Mask, generator: torch.Generator) -> tuple[Image, Mask]:
    """The light augmentation, and before it elastic deformation, bias field, loss of resolution and more gamma.

    Masks follow the geometry by nearest neighbour. Images stay in [-1, 1].
    """
    bent = _sometimes(_smooth(images, 2, ELASTIC_NODES, generator), generator).permute(0, 2, 3, 1)
    moved, labels = warp(images, masks, random_grid(images, generator) + ELASTIC * bent)
    bias = _sometimes(LOG_BIAS * _smooth(images, 1, BIAS_NODES, generator), generator)
    gamma = _sometimes(uniform(len(images), LOG_GAMMA, generator).view(-1, 1, 1, 1), generator)
    unit = lower_resolution((moved + 1) / 2 * bias.exp(), generator).clamp(0, 1) ** gamma.exp()
    return random_intensities(2 * unit - 1, generator), labels


def lower_resolution(images: Image, generator: torch.Generator) -> Image:
    """Of some images only the middle of k-space, a random part along each axis, under a window that avoids ringing."""
    chosen = _chosen(len(images), generator)
    kept = LOWEST_RESOLUTION + (1 - LOWEST_RESOLUTION) * torch.rand(len(images), 2, generator=generator)
    height, width = images.shape[-2:]
    rows = _hann(torch.fft.fftfreq(height).abs(), kept[:, :1])
    columns = _hann(torch.fft.rfftfreq(width), kept[:, 1:])
    spectrum = torch.fft.rfft2(images) * rows[:, None, :, None] * columns[:, None, None, :]
    return torch.where(chosen, torch.fft.irfft2(spectrum, s=(height, width)), images)


def _hann(frequency: Float[Tensor, " frequency"], kept: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch frequency"]:
    """1 at frequency 0, 0 from `kept` times the highest on (0.5 cycles a pixel)."""
    return (1 + torch.cos(torch.pi * (2 * frequency / kept).clamp(max=1))) / 2


def _smooth(
    images: Image, channels: int, nodes: int, generator: torch.Generator
) -> Float[Tensor, "batch channel row column"]:
    """Random surfaces over the images, through nodes x nodes control points in [-1, 1]."""
    points = 2 * torch.rand(len(images), channels, nodes, nodes, generator=generator) - 1
    return interpolate(points, size=images.shape[-2:], mode="bicubic", align_corners=True)


def _chosen(count: int, generator: torch.Generator) -> Bool[Tensor, "count 1 1 1"]:
    return (torch.rand(count, generator=generator) < PROBABILITY).view(-1, 1, 1, 1)


def _sometimes(field: Float[Tensor, "batch ..."], generator: torch.Generator) -> Float[Tensor, "batch ..."]:
    """The field, or zero."""
    return field * _chosen(len(field), generator)
