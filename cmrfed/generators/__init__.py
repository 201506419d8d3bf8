"""Generator families, one file each, behind one protocol."""

import torch

from cmrfed.config import GeneratorConfig
from cmrfed.generators.ddpm import DDPM
from cmrfed.generators.flow import Flow
from cmrfed.generators.network import mark_trainable, refuse_batch_statistics
from cmrfed.generators.protocol import Draws, Generator, Parts

FAMILIES: dict[str, type[Generator]] = {"flow": Flow, "ddpm": DDPM}

__all__ = ["FAMILIES", "Draws", "Generator", "Parts", "build_generator", "mark_trainable", "refuse_batch_statistics"]


def build_generator(config: GeneratorConfig, seed: int) -> Generator:
    """A generator with weights drawn from `seed`; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[config.family](config)
