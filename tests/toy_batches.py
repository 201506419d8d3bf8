"""Batches, and networks whose every answer is known, for any generator."""

import torch
from torch import nn

from cmrfed.batches import Batch, unknown_conditions
from cmrfed.conditions import CONDITIONS
from cmrfed.generators import Denoiser, Parts, Path
from cmrfed.members import FAMILIES
from cmrfed.shapes import spread

PATHS = sorted(name for name in FAMILIES if issubclass(FAMILIES.load(name), Path))
"""Families that carry noise to an image, and can be asked at any noise."""


def a_batch(count=3, grid=(16, 16), seed=2, **known):
    """Random images and masks of three vendors; `known` are values by condition, one a row or one for all."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, *grid, generator=random) * 2 - 1
    conditions = unknown_conditions(list(CONDITIONS), count, grid)
    conditions["mask"] = torch.randint(0, 4, (count, *grid), generator=random)
    conditions["vendor"], conditions["phase"] = torch.arange(count) % 3, torch.arange(count) % 2
    for name, values in known.items():
        conditions[name][:] = torch.as_tensor(values)
    return Batch(images, conditions, {})


def drawn(generator, batch, seed=4):
    """The batch as the generator's objective draws it, with every condition told."""
    objective = generator.objective
    return objective.told(objective.drawn(batch, torch.Generator().manual_seed(seed)))


def changed(batch, **conditions):
    """The same batch under other conditions."""
    return batch._replace(conditions=batch.conditions | conditions)


def without_zeros(generator, seed=3):
    """Random weights everywhere: MONAI starts the last layer at zero, which would hide what comes before it."""
    for weight in generator.parameters():
        nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(seed))
    return generator


class Oracle(nn.Module):
    """A network that knows each image that was corrupted: `image(x_t, signal, noise, conditions)` says it, and the
    generator's own path says what to predict."""

    def __init__(self, generator: Denoiser, image):
        super().__init__()
        self.path, self.image, self.asked = generator.path, image, []

    def parts(self, x_t, t, conditions):
        signal, noise = (spread(scale, x_t) for scale in self.path.alpha_sigma(t))
        image = self.image(x_t, signal, noise, conditions)
        return Parts(image, (x_t - signal * image) / noise)

    def forward(self, x_t, t, conditions):
        self.asked.append((x_t, t, conditions))
        return self.path.target(self.parts(x_t, t, conditions), t)
