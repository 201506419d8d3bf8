"""Generator + masks -> synthetic slices, and synthetic cases on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from cmrfed.config import PreprocessingConfig, SamplingConfig, UserError
from cmrfed.generators import Generator
from cmrfed.preprocessing import prepare_mask
from cmrfed.shapes import Label, phase_index, vendor_index
from cmrfed.slices import Slices
from cmrfed.training import autocast, choose_device
from cmrfed.volumes import read_mask, write_volume

Progress = Callable[[int, int], None]


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
    conditions: np.ndarray,
    config: SamplingConfig,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Float32[np.ndarray, "slice row column"]:
    """One image in [-1, 1] for each mask (slice, row, column) and condition (slice, 2)."""
    target = choose_device(device)
    generator.to(target).eval()
    random = torch.Generator().manual_seed(seed)
    batches = [np.empty((0, *masks.shape[1:]), np.float32)]
    for start in range(0, len(masks), config.batch_size):
        part = slice(start, start + config.batch_size)
        mask = torch.from_numpy(masks[part].astype(np.int64)).to(target)
        condition = torch.from_numpy(conditions[part].astype(np.int64)).to(target)
        with autocast(target, precision):
            images = generator.sample(mask, condition, config.steps, random, config.guidance)
        batches.append(images[:, 0].float().cpu().numpy())
        if progress:
            progress(min(start + config.batch_size, len(masks)), len(masks))
    return np.concatenate(batches)


def generate_volumes(
    generator: Generator,
    masks: Path,
    out: Path,
    vendor: str,
    phase: str,
    preprocessing: PreprocessingConfig,
    config: SamplingConfig,
    seed: int,
    progress: Progress | None = None,
) -> list[Path]:
    """For each NIfTI mask in a folder, write NAME.nii.gz (image, 0..1) and NAME_gt.nii.gz (mask) on the common grid.

    Masks use the canonical labels (0 background, 1 LV, 2 myocardium, 3 RV). All are read before one is written.
    Raises UserError when the folder holds none, or one cannot be used.
    """
    paths = sorted(path for path in masks.glob("*.nii*") if path.name.endswith((".nii", ".nii.gz")))
    if not paths:
        raise UserError(f"{masks}: holds no .nii or .nii.gz masks; give a folder of short-axis label maps")
    table = {int(label): label for label in Label}
    prepared = {path: prepare_mask(*read_mask(path, table), preprocessing, path.name) for path in paths}
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (path, (mask, spacing_mm)) in enumerate(prepared.items()):
        conditions = np.tile([vendor_index(vendor), phase_index(phase)], (len(mask), 1))
        images = sample_images(generator, mask, conditions, config, seed + number)
        stem = path.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_gt")
        write_volume(out / f"{stem}_gt.nii.gz", mask, spacing_mm)
        write_volume(out / f"{stem}.nii.gz", (images + 1) / 2, spacing_mm)
        written.append(out / f"{stem}.nii.gz")
        if progress:
            progress(number + 1, len(prepared))
    return written
