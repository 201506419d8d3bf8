"""PFAMI, membership inference by probabilistic fluctuation (Fu et al. 2023, arXiv:2308.12143).

A memorised image is a local optimum of the likelihood: its neighbours, here centre crops of it, are worse than itself.

    score = mean_c L(crop_c x) - L(x),    crops of 0.95, 0.90, ... 0.70 of the side, scaled back to full size.
"""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe
from cmrfed.shapes import Latent, Mask

CROPS = (0.95, 0.90, 0.85, 0.80, 0.75, 0.70)


def pfami_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """How much a patient's loss at the middle noise share rises under cropping: higher means "more likely a member"."""
    middle = probe.times // 2
    share, noise = probe.noise_shares[middle], probe.noises[middle, 0]
    cropped = [probe.losses(share, noise, altered=partial(cropped_pair, side=side)) for side in CROPS]
    return probe.patient_means(torch.stack(cropped).mean(0) - probe.losses(share, noise))


def cropped_pair(images: Latent, masks: Mask, side: float) -> tuple[Latent, Mask]:
    """The central part of images and masks, `side` of the whole in each direction, scaled back to full size."""
    nearest = _cropped(masks[:, None].float(), side, InterpolationMode.NEAREST)
    return _cropped(images, side, InterpolationMode.BILINEAR), nearest[:, 0].to(masks.dtype)


def _cropped(pictures: Latent, side: float, interpolation: InterpolationMode) -> Latent:
    size = list(pictures.shape[-2:])
    height, width = (round(side * length) for length in size)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return resized_crop(pictures, top, left, height, width, size, interpolation)


PFAMI = Attack(
    scores=pfami_scores,
    needs="probe",
    access="loss",
    family="neighbourhood",
    paper="Fu et al. 2023, arXiv:2308.12143",
    meaning="A memorised image is better known than the same image slightly cropped.",
)
