"""Scores of single images: against the real image of the same mask, and against one another."""

import numpy as np
import torch
from jaxtyping import Float

from cmrfed.core.progress import Progress, ProgressBar
from cmrfed.evaluation.fidelity.metrics import Score, SliceScores, mean_scores
from cmrfed.evaluation.fidelity.metrics.networks import EfficientNetLite0
from cmrfed.evaluation.fidelity.metrics.pixels import PAIRED, nearest_by_mask, pair_similarity, perceptual_distance
from cmrfed.evaluation.fidelity.sets import Compared, images_of, outlines_of
from cmrfed.shapes import Image
from cmrfed.slices import Slices

_AT_ONCE = 128
_NAMES = (*PAIRED, "perceptual")


def measure_pixels(sets: Compared, bar: ProgressBar) -> dict[str, dict[str, Score]]:
    """Scores by arm and name: those against the real image for arms that drew for the test masks, "between_patients"
    for all."""
    found: dict[str, dict[str, Score]] = {arm: {} for arm in sets.made}
    subject = sets.subject
    with bar("images against images") as progress:
        total = (1 + len(sets.paired)) * len(sets.test)
        if sets.paired:
            network = EfficientNetLite0().eval()
            real = images_of(sets.test).to(subject.device)
            floor = _against(_partners(sets), real, network, progress, 0, total)
        for number, (arm, made) in enumerate(sets.paired.items(), start=1):
            scores = _against(images_of(made), real, network, progress, number * len(real), total)
            own, low = (SliceScores(values, made.patients) for values in (scores, floor))
            found[arm] = mean_scores(_NAMES, own, low, subject.bootstrap, subject.seed)
    for arm, score in _between_patients(sets).items():
        found[arm]["between_patients"] = score
    return found


def _partners(sets: Compared) -> Image:
    """For each test slice the reference's image of the most similar mask, of the same vendor and phase if possible."""
    sides = (sets.test, sets.reference)
    masks, pool = (outlines_of(side) for side in sides)
    styles, pool_styles = (np.stack([side.conditions[name] for name in ("vendor", "phase")], axis=1) for side in sides)
    chosen = nearest_by_mask(masks, torch.from_numpy(styles), pool, torch.from_numpy(pool_styles))
    return images_of(sets.reference)[chosen]


def _against(
    images: Image, real: Image, network: EfficientNetLite0, progress: Progress, before: int, total: int
) -> Float[np.ndarray, "slice score"]:
    """A row a slice, a column for each of `_NAMES`."""
    rows = []
    for own, truth in zip(images.to(real.device).split(_AT_ONCE), real.split(_AT_ONCE), strict=True):
        scores = [score(own, truth) for score in PAIRED.values()] + [perceptual_distance(own, truth, network)]
        rows.append(torch.stack(scores, 1).double().cpu())
        progress(before + sum(map(len, rows)), total)
    return torch.cat(rows).numpy()


def _between_patients(sets: Compared) -> dict[str, Score]:
    """Mode collapse and its opposite, beside the same of the test images."""
    if min(side.number_of_patients for side in (sets.test, *sets.made.values())) < 2:
        return {}
    floor, floor_ci95 = _similarity(sets.test, sets)
    found = {}
    for arm, made in sets.made.items():
        value, ci95 = _similarity(made, sets)
        found[arm] = Score(value=value, ci95=ci95, floor=floor, floor_ci95=floor_ci95)
    return found


def _similarity(slices: Slices, sets: Compared) -> tuple[float, list[float]]:
    subject = sets.subject
    images = images_of(slices).to(subject.device)
    return pair_similarity(images, torch.from_numpy(slices.patients), subject.bootstrap, subject.seed)
