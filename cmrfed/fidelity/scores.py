"""Every distance of synthetic images from held-out real ones, its interval, and the floor that real patients set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from cmrfed.fidelity.frechet import frechet_distance
from cmrfed.fidelity.kernel import kernel_distance

Metric = Callable[[Float[torch.Tensor, "n feature"], Float[torch.Tensor, "n feature"]], float]
METRICS: dict[str, Metric] = {"fid": frechet_distance, "kid": kernel_distance}
"""Every distance by the name it has in a report; 0 is best, larger is worse."""

HALVES = 40
"""Random halves behind an interval: its width is then known to about 11 %."""


@dataclass(frozen=True)
class PatientFeatures:
    """Features of images, and which patient each image is of (for a synthetic image, the patient whose mask it has)."""

    features: Float[torch.Tensor, "image feature"]
    patients: Int[torch.Tensor, " image"]

    def take(self, images: Int[np.ndarray, " kept"]) -> "PatientFeatures":
        """Only the images at these indices."""
        kept = torch.from_numpy(images)
        return PatientFeatures(self.features[kept], self.patients[kept])


def fidelity_scores(
    reference: PatientFeatures, test: PatientFeatures, synthetic: PatientFeatures, seed: int = 0
) -> dict[str, float | int | list[float]]:
    """Distances synthetic-test and, as the floor, reference-test: what *other real patients* score.

    reference: real training images. test: real held-out images, of patients not in `reference`. A distance is only
    meaningful beside its floor, so both use the same test images and the same number of images, `images`: that of the
    smallest of the three sets, to which the others are thinned at random. The sets should have the same mix of
    vendors, or the floor measures that difference too.

    Returns for every metric M of `METRICS`: "M", "M_se", "M_ci95" ([low, high]), and the same of "M_real"; and
    "images". An interval is the estimate +- 1.96 standard errors by the delete-half jackknife over patients
    (Shao & Wu, Annals of Statistics 1989): unlike a bootstrap it repeats no image, which would bias both distances
    upwards. FID's own bias at this many images is in both FID and its floor, and not in the interval. The same seed
    gives the same numbers. Raises ValueError when a set has fewer than two patients.
    """
    generator = np.random.default_rng(seed)
    images = min(len(side.patients) for side in (reference, test, synthetic))
    reference, test, synthetic = (_thin(side, images, generator) for side in (reference, test, synthetic))
    scores: dict[str, float | int | list[float]] = {"images": images}
    for suffix, side in (("", synthetic), ("_real", reference)):
        halves = list(_halves(side, test, np.random.default_rng(seed)))
        for name, metric in METRICS.items():
            value = metric(side.features, test.features)
            error = float(np.std([metric(*half) for half in halves], ddof=1))
            scores[f"{name}{suffix}"] = value
            scores[f"{name}{suffix}_se"] = error
            scores[f"{name}{suffix}_ci95"] = [value - 1.96 * error, value + 1.96 * error]
    return scores


def _thin(side: PatientFeatures, images: int, generator: np.random.Generator) -> PatientFeatures:
    return side.take(np.sort(generator.permutation(len(side.patients))[:images]))


def _halves(
    first: PatientFeatures, second: PatientFeatures, generator: np.random.Generator
) -> Iterator[tuple[Float[torch.Tensor, "n feature"], Float[torch.Tensor, "n feature"]]]:
    """Features of a random half of each side's patients, with equally many images from both sides."""
    for _ in range(HALVES):
        kept = [side.take(_half_of_patients(side.patients.numpy(), generator)) for side in (first, second)]
        images = min(len(side.patients) for side in kept)
        left, right = (_thin(side, images, generator).features for side in kept)
        yield left, right


def _half_of_patients(patients: Int[np.ndarray, " image"], generator: np.random.Generator) -> Int[np.ndarray, " kept"]:
    names = np.unique(patients)
    if len(names) < 2:
        raise ValueError(f"an interval over patients needs two or more in each set, found {len(names)}")
    return np.flatnonzero(np.isin(patients, generator.choice(names, len(names) // 2, replace=False)))
