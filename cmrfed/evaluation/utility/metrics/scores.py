"""Scores of predicted stacks against reference stacks, by structure; and their means over a patient's stacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64

from cmrfed.conditions import PHASES
from cmrfed.evaluation.utility.metrics.regions import RegionPair, assd_mm, dice, hd95_mm
from cmrfed.evaluation.utility.metrics.training_set import Masks
from cmrfed.shapes import STRUCTURES
from cmrfed.slices import Patient, Slices

METRICS: dict[str, Callable[[RegionPair], float]] = {"dice": dice, "hd95_mm": hd95_mm, "assd_mm": assd_mm}
"""Every score of one structure in one stack, by the name it has in a report."""

COLUMNS = (*(structure.name.lower() for structure in STRUCTURES), "mean")
"""The structures as a report names them, and their mean."""

ScoreTable = Float[np.ndarray, "row score"]


@dataclass(frozen=True, eq=False)
class StackScores:
    """One row a stack: for every metric the score of every structure and, last, of their mean.

    owners: the record, phases: the phase of each stack.
    """

    values: dict[str, ScoreTable]
    owners: tuple[Patient, ...]
    phases: tuple[str, ...]

    def only(self, rows: Bool[np.ndarray, " stack"]) -> "StackScores":
        """These stacks alone."""
        kept = np.flatnonzero(rows)
        return StackScores(
            {name: table[kept] for name, table in self.values.items()},
            tuple(self.owners[row] for row in kept),
            tuple(self.phases[row] for row in kept),
        )

    @cached_property
    def patients(self) -> tuple[Patient, ...]:
        """Each patient once, sorted."""
        return tuple(sorted(set(self.owners)))

    @cached_property
    def _stacks_of_patients(self) -> list[list[int]]:
        return [[row for row, owner in enumerate(self.owners) if owner == patient] for patient in self.patients]

    def by_patient(self, metric: str) -> Float[np.ndarray, "patient score"]:
        """The mean over each patient's stacks, in the order of `patients`."""
        return np.stack([self.values[metric][rows].mean(axis=0) for rows in self._stacks_of_patients])


def stack_scores(predicted: Masks, test: Slices) -> StackScores:
    """Score each stack as one 3-D object.

    A structure absent from a stack's reference and from its prediction scores as a perfect match; absent from only one
    of them, as the worst (see the metrics). So every stack has a score, and none is a NaN. Raises ValueError when there
    are no slices, or the prediction has another shape than the reference.
    """
    if predicted.shape != test.masks.shape or len(predicted) == 0:
        raise ValueError(f"predicted masks {predicted.shape} do not fit the {test.masks.shape} reference")
    stacks = [np.flatnonzero(test.stacks == stack) for stack in np.unique(test.stacks)]
    table = np.stack([_one_stack(predicted[rows], test, rows) for rows in stacks])  # (stack, metric, score)
    return StackScores(
        {name: table[:, index] for index, name in enumerate(METRICS)},
        tuple(test.records[test.patients[rows[0]]] for rows in stacks),
        tuple(PHASES[test.conditions["phase"][rows[0]]] for rows in stacks),
    )


def _one_stack(predicted: Masks, test: Slices, rows: Int64[np.ndarray, " slice"]) -> Float[np.ndarray, "metric score"]:
    reference, spacing_mm = test.masks[rows], test.spacing_mm[rows[0]]
    pairs = [RegionPair(predicted == label, reference == label, spacing_mm) for label in STRUCTURES]
    scores = np.array([[metric(pair) for pair in pairs] for metric in METRICS.values()])
    return np.column_stack([scores, scores.mean(axis=1)])


def mean_scores(repeats: Sequence[StackScores]) -> StackScores:
    """The mean over repeated trainings of each stack's scores."""
    values = {name: np.mean([one.values[name] for one in repeats], axis=0) for name in METRICS}
    return replace(repeats[0], values=values)
