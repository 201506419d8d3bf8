"""Every preset of `configs/generator`, with networks of a few thousand weights."""

import torch
from conftest import toy_slices
from toy_batches import a_batch, without_zeros

from cmrfed.composition import option, options
from cmrfed.config import GeneratorConfig, read_stage
from cmrfed.generators import build_generator

PRESETS = options("generator")
SIZE = 16
"""Pixels a side."""

_TINY = {"channels": [8, 8], "norm_groups": 4, "residual_blocks": 1, "init": None}


def tiny_preset(name, **changes) -> GeneratorConfig:
    """The preset's generator, small, with all weights of its private objectives trained."""
    chosen = option("generator", name)
    chosen = chosen.get("generator", chosen)  # of one that sets other stages too
    trainable = {} if "trainable" in chosen else {"trainable": "all"}
    levels = {"levels": 2} if chosen.get("levels", 1) > 1 else {}
    return read_stage(GeneratorConfig, chosen | _TINY | trainable | levels | changes)


def tiny_generator(name, seed=1, **changes):
    """One whose every weight matters."""
    return without_zeros(build_generator(tiny_preset(name, **changes), seed=seed))


def grid_of(config):
    return (SIZE, SIZE) if config.levels == 1 else (config.levels, SIZE, SIZE)


def batch_of(generator, count=3, seed=2, **known):
    """Random images and masks on the generator's grid, of which everything is known."""
    batch = a_batch(count, grid_of(generator.config), seed, **known)
    random = torch.Generator().manual_seed(seed)
    told = {name: _known(name, one, random) for name, one in batch.conditions.items() if name not in known}
    return batch._replace(conditions=batch.conditions | told)


def _known(name, column, random):
    """Whatever is still unknown, drawn."""
    from cmrfed.conditions import CONDITIONS, Categorical

    condition = CONDITIONS[name]
    if isinstance(condition, Categorical):
        return torch.randint(condition.unknown, column.shape, generator=random)
    if not column.is_floating_point():
        return column
    low, high = condition.limits or (-1.0, 1.0)
    return low + (high - low) * torch.rand(column.shape, generator=random)


def hearts_of(generator, patients=(2, 3, 2)):
    """Patients whose stacks have as many slices as the generator draws at once."""
    return toy_slices([max(count, generator.config.levels) for count in patients], SIZE)
