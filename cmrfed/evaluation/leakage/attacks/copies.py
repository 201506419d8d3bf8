"""Whether synthetic images copy training images, each figure beside what held-out real images score in their place."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.authenticity import authentic
from cmrfed.evaluation.leakage.attacks.collapse import share_of_one_patient
from cmrfed.evaluation.leakage.attacks.data_copying import data_copying
from cmrfed.evaluation.leakage.attacks.extraction import NEIGHBOURS, extraction_ratios
from cmrfed.evaluation.leakage.attacks.neighbours import NOBODY, Points, nearest
from cmrfed.statistics import bootstrap_mean_interval

Figures = dict[str, float | int | list[float]]


@dataclass(frozen=True)
class CopyTest:
    """synthetic and held_out: of the same masks where that can be, none of them of a training patient; equally many,
    or the shares of one patient cannot be compared. train: all images that were trained on."""

    synthetic: Points
    held_out: Points
    train: Points


def copying(test: CopyTest, replicates: int = 1000, seed: int = 0) -> Figures:
    """Figures of the synthetic images, and with "_real" of the held-out ones.

    "extracted" (share of images with an extraction ratio below 1), "authentic" (share), each with "_ci95" over
    patients; "share_of_one_patient"; "distance" (mean distance to the nearest training image, root mean square over
    dimensions); "data_copying_z" and "data_copying_p"; "images" and "real_images".
    """
    found: Figures = {"images": len(test.synthetic), "real_images": len(test.held_out)}
    distances = []
    for suffix, images in (("", test.synthetic), ("_real", test.held_out)):
        around = nearest(images, test.train, NEIGHBOURS)
        distances.append(_by_patient(around.distances[:, 0], images))
        extracted = _by_patient((extraction_ratios(around) < 1).astype(float), images)
        independent = _by_patient(authentic(around, test.train).astype(float), images)
        for name, shares in (("extracted", extracted), ("authentic", independent)):
            found[f"{name}{suffix}"] = float(shares.mean())
            found[f"{name}{suffix}_ci95"] = bootstrap_mean_interval(shares, replicates, seed)
        found[f"share_of_one_patient{suffix}"] = share_of_one_patient(around, test.train)
        found[f"distance{suffix}"] = float(distances[-1].mean())
    found["data_copying_z"], found["data_copying_p"] = data_copying(*distances)
    return found


def _by_patient(values: Float[np.ndarray, " image"], images: Points) -> Float[np.ndarray, " patient"]:
    """Means over each owner's images; an image of nobody stands for itself."""
    alone = np.arange(len(images)) + images.owners.max() + 1
    _, index = np.unique(np.where(images.owners == NOBODY, alone, images.owners), return_inverse=True)
    return np.bincount(index, weights=values) / np.bincount(index)
