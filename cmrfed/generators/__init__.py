"""Generators behind one contract: `contract.py` says what each is, `cmrfed.members` lists them.

A denoising generator (`denoiser.py`) is a path from noise to image (`flow.py`, `ddpm.py`, `edm.py`) and a network that
walks it (`networks/`), which is told of its conditions by `encoders.py`.

Of another kind are conditional VAEs (`cvae.py`, `multicontrast.py`), and models that fill in the tokens or the latents
of an autoencoder (`tokenizer.py`): `maskgit.py`, `masked_ar.py`. `mask_diffusion.py` denoises masks, then their images.
"""

import torch

from cmrfed.config import GeneratorConfig
from cmrfed.generators.contract import Generator, Objective, refuse_batch_statistics
from cmrfed.generators.denoiser import Denoiser
from cmrfed.generators.path import Parts, Path
from cmrfed.members import FAMILIES

__all__ = ["Denoiser", "Generator", "Objective", "Parts", "Path", "build_generator", "refuse_batch_statistics"]


def build_generator(config: GeneratorConfig, seed: int) -> Generator:
    """A generator with weights drawn from `seed`, made ready for its first round; the caller's random state is left as
    it was. Raises UserError for a network that cannot be, or that mixes patients."""
    family = FAMILIES.load(config.family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Denoiser(config, family()) if issubclass(family, Path) else family(config)
    refuse_batch_statistics(generator)
    return generator.enter(1, 1)
