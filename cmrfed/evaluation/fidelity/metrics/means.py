"""Means over patients of values by slice, with their intervals: scores of single images and of their masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cmrfed.evaluation.fidelity.metrics.scores import Score
from cmrfed.statistics import bootstrap_mean_interval

Patients = Int[np.ndarray, " slice"]


@dataclass(frozen=True)
class SliceScores:
    """Values by slice, a column a score, and which patient each slice is of."""

    values: Float[np.ndarray, "slice score"]
    patients: Patients


def mean_scores(
    names: Sequence[str], own: SliceScores, floor: SliceScores, replicates: int, seed: int
) -> dict[str, Score]:
    """Scores by name: the mean over patients of each one's mean over slices, beside that of the floor's values.

    A column a name; values that are not finite are left out, and so is a name for which none is left. Intervals are
    bootstrapped over patients.
    """
    scores = {}
    for column, name in enumerate(names):
        value, low = (_mean(side.values[:, column], side.patients, replicates, seed) for side in (own, floor))
        if value:
            scores[name] = Score(
                value=value[0], ci95=value[1], floor=low[0] if low else None, floor_ci95=low[1] if low else None
            )
    return scores


def _mean(
    values: Float[np.ndarray, " slice"], patients: Patients, replicates: int, seed: int
) -> tuple[float, list[float]] | None:
    known = np.isfinite(values)
    if not known.any():
        return None
    owners, index = np.unique(patients[known], return_inverse=True)
    means = np.bincount(index, values[known].astype(np.float64)) / np.bincount(index, minlength=len(owners))
    return float(means.mean()), bootstrap_mean_interval(means, replicates, seed)
