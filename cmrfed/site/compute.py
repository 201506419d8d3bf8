"""What a request would take to compute, found on paper: from what a server asks for and the size of this site's images,
on made-up tensors without memory (torch's meta device), before any patient's data are touched."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cmrfed.batches import Batch, unknown_conditions
from cmrfed.config import GeneratorConfig, TrainingConfig
from cmrfed.generators import Generator, build_generator

_COPIES_OF_WEIGHTS = 8
"""Weights, gradients, two moments, the weights before, the sum and the noise in double precision (twice as wide)."""
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Needs:
    """weights: of the network. memory_bytes: about the most that a step holds at once, beside the program itself."""

    weights: int
    memory_bytes: int


def rows_together(training: TrainingConfig, private: bool) -> int:
    """Rows of images that go through the network at once."""
    if not private:
        return training.batch_size
    together = training.rows_at_once if training.patient_gradients == "vmap" else 1
    return max(training.rows_of_patient, together)


def needs(generator: GeneratorConfig, rows: int, size: int) -> Needs:
    """What steps need whose rows go through the network `rows` at once, images of `size` x `size` pixels.

    Raises UserError for a network that cannot be.
    """
    weights, saved_bytes = _measured(generator, size)
    return Needs(weights, _COPIES_OF_WEIGHTS * _FLOAT_BYTES * weights + 2 * rows * saved_bytes)


@lru_cache(maxsize=64)
def _measured(config: GeneratorConfig, size: int) -> tuple[int, int]:
    """(Weights, bytes that one row's forward pass keeps for the backward pass)."""
    with torch.device("meta"):
        generator = build_generator(config, seed=0)
        return sum(weight.numel() for weight in generator.parameters()), _saved_bytes(generator, size)


def _saved_bytes(generator: Generator, size: int) -> int:
    """Of the stage that keeps the most."""
    stages = (generator.enter(round, generator.stages) for round in range(1, generator.stages + 1))
    return max(_saved_bytes_of_stage(one, size) for one in stages)


def _saved_bytes_of_stage(generator: Generator, size: int) -> int:
    with torch.device("cpu"):
        levels = generator.config.levels
        grid = (size, size) if levels == 1 else (levels, size, size)
        names = dict.fromkeys(("mask", *generator.config.conditions))
        batch = Batch(torch.zeros(1, 1, *grid), unknown_conditions(list(names), 1, grid), {})
        drawn = generator.objective.drawn(batch.to("meta"), torch.Generator().manual_seed(0))
    generator.requires_grad_(True)  # the most that any group of weights needs
    with _BytesMade() as made:
        generator(drawn)
    return made.total


class _BytesMade(TorchDispatchMode):
    """Counts what operations make, of which a forward pass keeps most. Autograd's own hooks would tell what it keeps,
    but are refused where a loss has a gradient in it, as a critic's penalty has."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = (one for one in tree_leaves(found) if isinstance(one, torch.Tensor))
            self.total += sum(one.numel() * one.element_size() for one in tensors)
        return found
