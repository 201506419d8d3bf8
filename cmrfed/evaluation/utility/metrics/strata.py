"""Means over patients, whole and by stratum, which is what a report shows."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool

from cmrfed.evaluation.utility.metrics.scores import COLUMNS, METRICS, StackScores
from cmrfed.slices import Patient
from cmrfed.statistics import bootstrap_mean_interval

StratumOf = Callable[[Patient, str], str]

STRATA: dict[str, StratumOf] = {
    "vendor": lambda record, phase: record.vendor,
    "dataset": lambda record, phase: record.dataset,
    "pathology": lambda record, phase: record.pathology,
    "phase": lambda record, phase: phase,
}
"""What stacks may be told apart by, each a function of the patient's record and the stack's phase."""

CROSSED = ("vendor", "phase", "pathology")
"""The strata that are crossed with one another (and, by the columns of every score, with the structures)."""


def summarise(scores: StackScores, replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Means over patients, each the mean of its stacks, with 95 % bootstrap intervals over patients.

    Returns {"dice": {"lv", "myo", "rv", "mean"}, "dice_ci95": {... [low, high]}, the same of "hd95_mm" and "assd_mm",
    "patients", "by_vendor": {vendor: the same again}, "by_dataset", "by_pathology", "by_phase", and "crossed": a list
    of {"vendor", "phase", "pathology", "patients", "dice", "dice_ci95"}}. A single patient has no interval: null.
    """
    return {
        **means(scores, tuple(METRICS), replicates, seed),
        **{f"by_{name}": _by(scores, name, replicates, seed) for name in STRATA},
        "crossed": _crossed(scores, replicates, seed),
    }


def means(scores: StackScores, metrics: tuple[str, ...], replicates: int, seed: int) -> dict[str, Any]:
    """{metric: {structure: mean over patients}, metric_ci95: {structure: interval or None}, "patients"}."""
    found: dict[str, Any] = {"patients": len(scores.patients)}
    for metric in metrics:
        columns = dict(zip(COLUMNS, scores.by_patient(metric).T, strict=True))
        found[metric] = {name: float(column.mean()) for name, column in columns.items()}
        found[f"{metric}_ci95"] = {
            name: bootstrap_mean_interval(column, replicates, seed) if len(column) > 1 else None
            for name, column in columns.items()
        }
    return found


def values_of(scores: StackScores, stratum: str) -> list[str]:
    """What each stack has for a stratum."""
    return [STRATA[stratum](owner, phase) for owner, phase in zip(scores.owners, scores.phases, strict=True)]


def _by(scores: StackScores, stratum: str, replicates: int, seed: int) -> dict[str, Any]:
    values = np.array(values_of(scores, stratum))
    return {
        value: means(scores.only(values == value), tuple(METRICS), replicates, seed)
        for value in np.unique(values).tolist()
    }


def _crossed(scores: StackScores, replicates: int, seed: int) -> list[dict[str, Any]]:
    values = {name: np.array(values_of(scores, name)) for name in CROSSED}
    rows = []
    for cell in product(*(np.unique(of).tolist() for of in values.values())):
        inside: Bool[np.ndarray, " stack"] = np.logical_and.reduce(
            [of == value for of, value in zip(values.values(), cell, strict=True)]
        )
        if inside.any():
            rows.append(dict(zip(CROSSED, cell, strict=True)) | means(scores.only(inside), ("dice",), replicates, seed))
    return rows
