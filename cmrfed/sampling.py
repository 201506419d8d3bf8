"""Generator + masks -> synthetic slices."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32

from cmrfed.config import SamplingConfig
from cmrfed.core.progress import Progress
from cmrfed.generators import Denoiser, Generator
from cmrfed.generators.denoiser import SharedNoise
from cmrfed.slices import Slices
from cmrfed.stacks import Stacks, samples_of
from cmrfed.training import autocast, choose_device


def synthesise(
    generator: Generator,
    slices: Slices,
    config: SamplingConfig,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
    heart_seed: int | None = None,
) -> Slices:
    """New images for the masks, vendors and phases of `slices`; everything but the images is kept.

    The noise of a slice depends on the seed and its place, not on the batch size. heart_seed: where all slices are of
    one heart, a number of its own, other than any `seed`: `config.shared_noise` of their noise follows from it.
    """
    samples = samples_of(slices, generator.config.levels)
    with _of_one_heart(generator, config, heart_seed):
        images = sample_images(generator, samples, config, seed, device, precision, progress)
    return replace(slices, images=samples.as_slices(images) if isinstance(samples, Stacks) else images)


def _of_one_heart(generator: Generator, config: SamplingConfig, heart_seed: int | None) -> AbstractContextManager[None]:
    if heart_seed is None or not isinstance(generator, Denoiser):
        return nullcontext()
    return generator.sharing(SharedNoise(heart_seed, config.shared_noise))


@torch.no_grad()
def sample_images(
    generator: Generator,
    samples: Slices | Stacks,
    config: SamplingConfig,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Float32[np.ndarray, "sample ..."]:
    """One image in [-1, 1] for each sample's mask and conditions; its own image is not looked at."""
    target = choose_device(device)
    generator.to(target).eval()
    random = torch.Generator().manual_seed(seed)
    images = []
    for start in range(0, len(samples), config.batch_size):
        rows = range(start, min(start + config.batch_size, len(samples)))
        with autocast(target, precision):
            drawn = generator.sample(samples.batch(rows, target).conditions, config, random)
        images.append(drawn[:, 0].float().cpu().numpy())
        if progress:
            progress(rows.stop, len(samples))
    return np.concatenate(images) if images else np.empty(samples.batch(range(0)).images[:, 0].shape, np.float32)
