"""Loss-threshold membership inference (Yeom et al., CSF 2018; on diffusion models: Carlini et al., USENIX 2023).

A generator that has memorised a patient has a lower loss on that patient's slices than on a stranger's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int

from cmrfed.shapes import Condition, Image, Mask


@runtime_checkable
class Losses(Protocol):
    """A generator's own training loss, one number an image, without any randomness of its own."""

    def __call__(
        self,
        images: Image,
        masks: Mask,
        conditions: Condition,
        times: Float[torch.Tensor, " batch"],
        noises: Image,
    ) -> Float[torch.Tensor, " batch"]:
        """Losses at `times` in (0, 1) with standard normal `noises`."""


@dataclass(frozen=True)
class PatientSlices:
    """Slices, what the generator is conditioned on, and which patient each slice is of (any integers)."""

    images: Image
    masks: Mask
    conditions: Condition
    patients: Int[torch.Tensor, " batch"]


@torch.no_grad()
def loss_threshold_scores(
    losses: Losses,
    slices: PatientSlices,
    times: int = 8,
    draws: int = 2,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, " patient"]:
    """Minus each patient's mean loss over slices, `times` and `draws`: higher means "more likely a member".

    Every slice of every patient meets the same times, the midpoints (k + 1/2) / times, and the same noises, `draws`
    for each time, decided by `seed` alone. Members and non-members therefore differ in nothing but themselves, and a
    patient's score does not depend on who else is scored or in which order (up to rounding within a batch).

    Returns one score a patient, by ascending patient number. progress(done, total) counts (time, draw) pairs.
    Raises ValueError when there is no slice, or when a loss is not finite: its rank would mean nothing.
    """
    if len(slices.images) == 0:
        raise ValueError("the attack needs at least one slice")
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(len(slices.images), dtype=torch.float64)
    for pair in range(times * draws):
        time = (pair // draws + 0.5) / times
        noise = torch.randn(1, *slices.images.shape[1:], generator=generator)
        total += _losses_at(losses, slices, time, noise, batch_size, torch.device(device))
        if progress is not None:
            progress(pair + 1, times * draws)
    if not total.isfinite().all():
        raise ValueError("the generator's loss is not finite on some slices; the attack cannot rank its patients")
    return -_patient_means((total / (times * draws)).numpy(), slices.patients.numpy())


def _losses_at(
    losses: Losses, slices: PatientSlices, time: float, noise: Image, batch_size: int, device: torch.device
) -> Float[torch.Tensor, " slice"]:
    """Losses of all slices at one time with one noise."""
    found = []
    for start in range(0, len(slices.images), batch_size):
        part = slice(start, start + batch_size)
        images = slices.images[part].to(device)
        masks, conditions = slices.masks[part].to(device), slices.conditions[part].to(device)
        times = torch.full((len(images),), time, device=device)
        noises = noise.to(device).expand_as(images)
        found.append(losses(images, masks, conditions, times, noises).double().cpu())
    return torch.cat(found)


def _patient_means(
    values: Float[np.ndarray, " slice"], patients: Int[np.ndarray, " slice"]
) -> Float[np.ndarray, " patient"]:
    _, index = np.unique(patients, return_inverse=True)
    return np.bincount(index, weights=values) / np.bincount(index)
