"""Dice and HD95 of predicted stacks against reference stacks: by patient, then over patients and by vendor."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from monai.metrics import compute_hausdorff_distance

from cmrfed.shapes import STRUCTURES, Image, Mask
from cmrfed.statistics import bootstrap_mean_interval

Region = Bool[torch.Tensor, "slice row column"]
Spacing = Float[torch.Tensor, " 3"]


def dice(predicted: Region, reference: Region, spacing_mm: Spacing) -> float:
    """2 |P and R| / (|P| + |R|) over the voxels of a stack; 1 when both are empty, 0 when only one is."""
    voxels = int(predicted.sum() + reference.sum())
    return 2 * int((predicted & reference).sum()) / voxels if voxels else 1.0


def hd95_mm(predicted: Region, reference: Region, spacing_mm: Spacing) -> float:
    """The larger of the two directed 95th percentiles of the distances between the surfaces of two regions, in mm.

    Distances are in three dimensions, so an error of one slice costs the slice distance. Like the BraTS challenge, 0
    when both regions are empty; when only one is, the diagonal of the stack, the largest error it has room for.
    """
    if not predicted.any() and not reference.any():
        return 0.0
    if not predicted.any() or not reference.any():
        return float((torch.tensor(reference.shape) * spacing_mm).norm())
    with warnings.catch_warnings():  # MONAI 1.6 warns about an argument that it passes to itself
        warnings.simplefilter("ignore", FutureWarning)
        pair = (predicted[None, None], reference[None, None])
        distance = compute_hausdorff_distance(
            *pair, include_background=True, percentile=95, spacing=spacing_mm.tolist()
        )
    return float(distance)


METRICS: dict[str, Callable[[Region, Region, Spacing], float]] = {"dice": dice, "hd95_mm": hd95_mm}
"""Every score of one structure in one stack, by the name it has in a report."""

COLUMNS = (*(structure.name.lower() for structure in STRUCTURES), "mean")
"""The structures as a report names them, and their mean."""


@dataclass(frozen=True)
class TestStacks:
    """Held-out slices with what is needed to put their stacks together again.

    patients, stacks: for every slice its patient and its stack (a patient at one phase), counting from 0. The slices
    of a stack stand in anatomical order. vendors: one name for every patient. spacing_mm: for every stack the distance
    between slices, rows and columns.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    images: Image
    masks: Mask
    patients: Int[torch.Tensor, " batch"]
    stacks: Int[torch.Tensor, " batch"]
    vendors: Sequence[str]
    spacing_mm: Float[torch.Tensor, "stack 3"]


@dataclass(frozen=True)
class PatientScores:
    """One row a patient: for every metric the score of every structure and, last, of their mean; and the vendor."""

    values: dict[str, Float[np.ndarray, "patient score"]]
    vendors: tuple[str, ...]


def patient_scores(predicted: Mask, test: TestStacks) -> PatientScores:
    """Scores of every patient: each stack is scored as one 3-D object, and a patient's stacks are averaged.

    A structure absent from a stack's reference and from its prediction scores as a perfect match; absent from only one
    of them, as the worst (see `dice`, `hd95_mm`). So every patient has a score, and none is a NaN. Raises ValueError
    when there are no slices, or the prediction has another shape than the reference.
    """
    if predicted.shape != test.masks.shape or len(predicted) == 0:
        raise ValueError(f"predicted masks {tuple(predicted.shape)} do not fit the {tuple(test.masks.shape)} reference")
    owners, rows = [], []
    for stack in test.stacks.unique():
        slices = test.stacks == stack
        owners.append(int(test.patients[slices][0]))
        rows.append(_stack_scores(predicted[slices], test.masks[slices], test.spacing_mm[stack]))
    patients = sorted(set(owners))
    # (patient, metric, score)
    table = np.stack(
        [np.mean([row for owner, row in zip(owners, rows, strict=True) if owner == p], 0) for p in patients]
    )
    values = {name: table[:, index] for index, name in enumerate(METRICS)}
    return PatientScores(values, tuple(test.vendors[patient] for patient in patients))


def _stack_scores(predicted: Mask, reference: Mask, spacing_mm: Spacing) -> Float[np.ndarray, "metric score"]:
    scores = np.array(
        [[metric(predicted == s, reference == s, spacing_mm) for s in STRUCTURES] for metric in METRICS.values()]
    )
    return np.column_stack([scores, scores.mean(axis=1)])


def summarise(scores: PatientScores, replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Means over patients, which is what a report shows.

    Returns {"dice": {"lv", "myo", "rv", "mean"}, "hd95_mm": {...}, "dice_ci95": {... [low, high]},
    "by_vendor": {vendor: {"dice": {...}, "hd95_mm": {...}, "patients"}}, "patients"}; the intervals are bootstrapped
    over patients, and the same seed gives the same ones.
    """
    dice_columns = dict(zip(COLUMNS, scores.values["dice"].T, strict=True))
    return {
        **_means(scores.values),
        "dice_ci95": {name: bootstrap_mean_interval(column, replicates, seed) for name, column in dice_columns.items()},
        "by_vendor": {vendor: _of_vendor(scores, vendor) for vendor in sorted(set(scores.vendors))},
        "patients": len(scores.vendors),
    }


def _means(values: dict[str, Float[np.ndarray, "patient score"]]) -> dict[str, Any]:
    return {name: dict(zip(COLUMNS, table.mean(axis=0).tolist(), strict=True)) for name, table in values.items()}


def _of_vendor(scores: PatientScores, vendor: str) -> dict[str, Any]:
    rows = np.array([name == vendor for name in scores.vendors])
    return {**_means({name: table[rows] for name, table in scores.values.items()}), "patients": int(rows.sum())}
