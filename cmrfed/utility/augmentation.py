"""Light augmentation of a batch: what scanners and bodies vary anyway, so that an arm is not judged on its contrast."""

import math

import torch
from jaxtyping import Float
from torch.nn.functional import affine_grid, grid_sample

from cmrfed.shapes import Image, Mask

ROTATION_DEGREES, LOG_SCALE, TRANSLATION = 15.0, 0.1, 0.05
LOG_GAMMA, LOG_CONTRAST, BRIGHTNESS, NOISE = 0.4, 0.2, 0.1, 0.05


def augment(images: Image, masks: Mask, generator: torch.Generator) -> tuple[Image, Mask]:
    """Every image turned, scaled, shifted, and changed in gamma, contrast, brightness and noise, each by its own draw.

    Masks follow the geometry by nearest neighbour. Images stay in [-1, 1]; outside the old image they repeat its edge.
    """
    grid = affine_grid(_random_affines(len(images), generator), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = grid_sample(masks[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return _random_intensities(moved, generator), labels[:, 0].long()


def _uniform(count: int, bound: float, generator: torch.Generator) -> Float[torch.Tensor, " count"]:
    return (2 * torch.rand(count, generator=generator) - 1) * bound


def _random_affines(count: int, generator: torch.Generator) -> Float[torch.Tensor, "count 2 3"]:
    """Rotations with scales and translations, in coordinates from -1 to 1 over the image."""
    angle = _uniform(count, math.radians(ROTATION_DEGREES), generator)
    scale = _uniform(count, LOG_SCALE, generator).exp()
    across, down = (_uniform(count, 2 * TRANSLATION, generator) for _ in range(2))
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    return torch.stack([cosine, -sine, across, sine, cosine, down], dim=1).view(count, 2, 3)


def _random_intensities(images: Image, generator: torch.Generator) -> Image:
    count = len(images)
    gamma, contrast, brightness = (
        draw.view(-1, 1, 1, 1)
        for draw in (
            _uniform(count, LOG_GAMMA, generator).exp(),
            _uniform(count, LOG_CONTRAST, generator).exp(),
            _uniform(count, BRIGHTNESS, generator),
        )
    )
    unit = ((images + 1) / 2).clamp(0, 1)
    noise = NOISE * torch.randn(images.shape, generator=generator)
    return (contrast * (2 * unit**gamma - 1) + brightness + noise).clamp(-1, 1)
