"""The blind baseline: membership inference that never sees the model (Das, Zhang and Tramer 2024, arXiv:2406.16201).

Where members and non-members differ by themselves, as two hospitals' patients do, anybody tells them apart and a leak
is measured that is none. An attack that does not beat this baseline has shown nothing.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.batches import Conditions
from cmrfed.conditions import PHASES, VENDORS
from cmrfed.evaluation.leakage.attacks.probe import PatientSlices
from cmrfed.shapes import STRUCTURES, Image, Mask

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_RINGS = 6


def blind_statistics(slices: PatientSlices) -> Float[np.ndarray, "patient statistic"]:
    """What is plain to see of each patient, by ascending number: intensities, texture by spatial frequency, the size
    and brightness of each structure, vendor and phase; means over the patient's slices."""
    hearts = _hearts(slices.images, slices.masks)
    return _by_patient(slices, torch.cat([_style(slices.images), hearts, _conditions(slices.conditions)], dim=1))


def style_statistics(slices: PatientSlices) -> Float[np.ndarray, "patient statistic"]:
    """Of these, intensities and texture alone: what scanner and protocol leave in an image."""
    return _by_patient(slices, _style(slices.images))


def _by_patient(
    slices: PatientSlices, values: Float[Tensor, "slice statistic"]
) -> Float[np.ndarray, "patient statistic"]:
    numbers = slices.patients.numpy()
    return np.array([values.double().numpy()[numbers == number].mean(axis=0) for number in np.unique(numbers)])


def _style(images: Image) -> Float[Tensor, "slice statistic"]:
    return torch.cat([_intensities(images), _textures(images)], dim=1)


def _intensities(images: Image) -> Float[Tensor, "slice statistic"]:
    flat = images.flatten(1)
    return torch.cat([torch.quantile(flat, torch.tensor(_QUANTILES), dim=1).T, flat.std(1, keepdim=True)], dim=1)


def _textures(images: Image) -> Float[Tensor, "slice ring"]:
    """Log energy in rings of the spectrum."""
    rows, columns = images.shape[-2:]
    radius = torch.hypot(torch.fft.fftfreq(rows)[:, None], torch.fft.fftfreq(columns)[None]) / 0.5
    ring = (radius * _RINGS).long().clamp(max=_RINGS - 1)
    energy = torch.fft.fft2(images[:, 0], norm="ortho").abs().square()
    return torch.stack([energy[:, ring == one].mean(1) for one in range(_RINGS)], dim=1).add(1e-9).log()


def _hearts(images: Image, masks: Mask) -> Float[Tensor, "slice statistic"]:
    """Share of pixels and mean intensity of each structure; 0 where it is not in the slice."""
    columns = []
    for label in STRUCTURES:
        inside = (masks == label).float()
        size = inside.mean(dim=(1, 2))
        columns += [size, (images[:, 0] * inside).mean(dim=(1, 2)) / size.clamp_min(1e-9)]
    return torch.stack(columns, dim=1)


def _conditions(conditions: Conditions) -> Float[Tensor, "slice statistic"]:
    parts = ((conditions["vendor"], len(VENDORS)), (conditions["phase"], len(PHASES)))
    return torch.cat([torch.nn.functional.one_hot(index, size).float() for index, size in parts], dim=1)
