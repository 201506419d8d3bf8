"""Generators whose every answer is known, and patients for them: nothing is trained."""

import torch
from torch import nn

from cmrfed.attacks import PatientSlices
from cmrfed.config import GeneratorConfig
from cmrfed.generators import build_generator

SPREAD = 0.3


def hearts(patients, slices=2, seed=0, size=16, first=0):
    """Smooth random images, and a mask of its own for each slice."""
    stream, count = torch.Generator().manual_seed(seed), patients * slices
    coarse = torch.randn(count, 1, size // 4, size // 4, generator=stream) * SPREAD
    images = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return PatientSlices(
        images=images + 0.1 * torch.randn(images.shape, generator=stream),
        masks=torch.randint(0, 4, (count, size, size), generator=stream),
        conditions=torch.zeros(count, 2, dtype=torch.int64),
        patients=torch.arange(first, first + patients).repeat_interleave(slices),
    )


def join(*parts):
    """Several groups of patients as one, numbered on."""
    numbers = torch.cat([part.patients + 1000 * index for index, part in enumerate(parts)])
    fields = [torch.cat([getattr(part, name) for part in parts]) for name in ("images", "masks", "conditions")]
    return PatientSlices(*fields, numbers)


class Oracle(nn.Module):
    """The best prediction for images of mean 0 and variance SPREAD^2, pixel by pixel; or, of a generator that has
    learnt `memory` by heart, for those images alone. Without its condition it never remembers."""

    def __init__(self, generator, memory=None):
        super().__init__()
        self.scales, self.family, self.memory = generator.scales, generator.config.family, memory
        self.asked = []

    def forward(self, x_t, t, masks, conditions, kept):
        self.asked.append((x_t, t, kept))
        signal, noise = (scale[:, None, None, None] for scale in self.scales(t))
        image = signal * SPREAD**2 * x_t / (signal**2 * SPREAD**2 + noise**2)
        if self.memory is not None:
            image = torch.where(kept[:, None, None, None], self.remembered(x_t, signal, noise), image)
        said = (x_t - signal * image) / noise
        return said if self.family == "ddpm" else image - said

    def remembered(self, x_t, signal, noise):
        """E[x | x_t] over the memory."""
        gaps = (x_t[:, None] - signal[:, None] * self.memory).square().sum(dim=(2, 3, 4))
        weights = torch.softmax(-gaps / (2 * noise[:, 0, 0] ** 2), dim=1)
        return torch.einsum("bm,mchw->bchw", weights, self.memory)


def oracle_generator(family="flow", memory=None):
    """A generator of that family which answers like the oracle."""
    config = GeneratorConfig(family=family, channels=(8,), norm_groups=4, trainable="all")
    generator = build_generator(config, seed=0)
    generator.network = Oracle(generator, memory)
    return generator
