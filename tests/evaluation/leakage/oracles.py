"""Generators whose every answer is known, and patients for them: nothing is trained."""

import torch
from torch import nn
from toy_batches import Oracle, a_batch

from cmrfed.batches import joined
from cmrfed.conditions import UNLABELLED
from cmrfed.config import GeneratorConfig
from cmrfed.evaluation.leakage.attacks import PatientSlices
from cmrfed.generators import build_generator
from cmrfed.shapes import spread

SPREAD = 0.3


def hearts(patients, slices=2, seed=0, size=16, first=0):
    """Smooth random images, and a mask of its own for each slice."""
    stream, count = torch.Generator().manual_seed(seed), patients * slices
    coarse = torch.randn(count, 1, size // 4, size // 4, generator=stream) * SPREAD
    images = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    images = images + 0.1 * torch.randn(images.shape, generator=stream)
    masks = torch.randint(0, 4, (count, size, size), generator=stream)
    batch = a_batch(count, (size, size), vendor=0, phase=0, mask=masks)._replace(images=images)
    return PatientSlices(batch, torch.arange(first, first + patients).repeat_interleave(slices))


def join(*parts):
    """Several groups of patients as one, numbered on."""
    numbers = torch.cat([part.patients + 1000 * index for index, part in enumerate(parts)])
    return PatientSlices(joined([part.batch for part in parts]), numbers)


class Memory:
    """The best guess of images of mean 0 and variance SPREAD^2, pixel by pixel; or, of a generator that has learnt
    `memory` by heart, of those images alone. Without its condition it never remembers."""

    def __init__(self, memory=None):
        self.memory = memory

    def __call__(self, x_t, signal, noise, conditions):
        image = signal * SPREAD**2 * x_t / (signal**2 * SPREAD**2 + noise**2)
        if self.memory is None:
            return image
        told = (conditions["mask"] != UNLABELLED).flatten(1).any(1)
        return torch.where(spread(told, x_t), self.remembered(x_t, signal, noise), image)

    def remembered(self, x_t, signal, noise):
        """E[x | x_t] over the memory."""
        gaps = (x_t[:, None] - signal[:, None] * self.memory).square().sum(dim=(2, 3, 4))
        weights = torch.softmax(-gaps / (2 * noise[:, 0, 0] ** 2), dim=1)
        return torch.einsum("bm,mchw->bchw", weights, self.memory)


def oracle_generator(family="flow", memory=None):
    """A generator of that family which answers like the oracle."""
    generator = build_generator(GeneratorConfig(family=family, channels=(8,), norm_groups=4, trainable="all"), seed=0)
    generator.network = Oracle(generator, Memory(memory))
    return generator
