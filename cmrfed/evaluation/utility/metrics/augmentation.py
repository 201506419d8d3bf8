"""Light augmentation of a batch: what scanners and bodies vary anyway, so that an arm is not judged on its contrast."""

import math

import torch
from jaxtyping import Float
from torch.nn.functional import affine_grid, grid_sample

from cmrfed.shapes import Image, Mask

ROTATION_DEGREES, LOG_SCALE, TRANSLATION = 15.0, 0.1, 0.05
LOG_GAMMA, LOG_CONTRAST, BRIGHTNESS, NOISE = 0.4, 0.2, 0.1, 0.05

SamplingGrid = Float[torch.Tensor, "batch row column 2"]
"""Where each pixel comes from, as (column, row) from -1 to 1 over the image."""


def augment(images: Image, masks: Mask, generator: torch.Generator) -> tuple[Image, Mask]:
    """Every image turned, scaled, shifted, and changed in gamma, contrast, brightness and noise, each by its own draw.

    Masks follow the geometry by nearest neighbour. Images stay in [-1, 1]; outside the old image they repeat its edge.
    """
    moved, labels = warp(images, masks, random_grid(images, generator))
    return random_intensities(moved, generator), labels


def warp(images: Image, masks: Mask, grid: SamplingGrid) -> tuple[Image, Mask]:
    """Images and masks as the grid says; beyond the edge they repeat it."""
    moved = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = grid_sample(masks[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved, labels[:, 0].long()


def uniform(count: int, bound: float, generator: torch.Generator) -> Float[torch.Tensor, " count"]:
    """Numbers between -bound and bound."""
    return (2 * torch.rand(count, generator=generator) - 1) * bound


def random_grid(images: Image, generator: torch.Generator) -> SamplingGrid:
    """Every image's own rotation, scale and translation."""
    count = len(images)
    angle = uniform(count, math.radians(ROTATION_DEGREES), generator)
    scale = uniform(count, LOG_SCALE, generator).exp()
    across, down = (uniform(count, 2 * TRANSLATION, generator) for _ in range(2))
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    affines = torch.stack([cosine, -sine, across, sine, cosine, down], dim=1).view(count, 2, 3)
    return affine_grid(affines, list(images.shape), align_corners=False)


def random_intensities(images: Image, generator: torch.Generator) -> Image:
    """Every image's own gamma, contrast, brightness and noise, within [-1, 1]."""
    count = len(images)
    gamma, contrast, brightness = (
        draw.view(-1, 1, 1, 1)
        for draw in (
            uniform(count, LOG_GAMMA, generator).exp(),
            uniform(count, LOG_CONTRAST, generator).exp(),
            uniform(count, BRIGHTNESS, generator),
        )
    )
    unit = ((images + 1) / 2).clamp(0, 1)
    noise = NOISE * torch.randn(images.shape, generator=generator)
    return (contrast * (2 * unit**gamma - 1) + brightness + noise).clamp(-1, 1)
