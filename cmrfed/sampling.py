"""Generator + masks -> synthetic slices."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32

from cmrfed.config import SamplingConfig
from cmrfed.core.progress import Progress
from cmrfed.generators import Generator
from cmrfed.slices import Slices
from cmrfed.training import autocast, choose_device


def synthesise(
    generator: Generator,
    slices: Slices,
    config: SamplingConfig,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Slices:
    """New images for the masks, vendors and phases of `slices`; everything but the images is kept.

    The noise of a slice depends on the seed and its place, not on the batch size.
    """
    images = sample_images(
        generator, np.asarray(slices.masks), slices.conditions, config, seed, device, precision, progress
    )
    return replace(slices, images=images)


@torch.no_grad()
def sample_images(
    generator: Generator,
    masks: np.ndarray,
    conditions: Mapping[str, np.ndarray],
    config: SamplingConfig,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Float32[np.ndarray, "slice row column"]:
    """One image in [-1, 1] for each mask (slice, row, column), whose conditions are the columns of those names."""
    target = choose_device(device)
    generator.to(target).eval()
    random = torch.Generator().manual_seed(seed)
    batches = [np.empty((0, *masks.shape[1:]), np.float32)]
    for start in range(0, len(masks), config.batch_size):
        part = slice(start, start + config.batch_size)
        told = {"mask": masks[part].astype(np.int64)} | {name: column[part] for name, column in conditions.items()}
        on_device = {name: torch.from_numpy(column).to(target) for name, column in told.items()}
        with autocast(target, precision):
            images = generator.sample(on_device, config, random)
        batches.append(images[:, 0].float().cpu().numpy())
        if progress:
            progress(min(start + config.batch_size, len(masks)), len(masks))
    return np.concatenate(batches)
