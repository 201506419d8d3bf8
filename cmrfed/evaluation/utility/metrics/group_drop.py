"""What a segmenter loses on a group of patients (a vendor, a data set) that it never saw, and how much of that
synthetic images of the group give back.

Three networks of equal budget meet the same patients of a group: `seen` learnt from real images of every group,
`unseen` from those of all other groups, `helped` from these and synthetic images of the missing group. Then
drop = seen - unseen, removed = helped - unseen, and the share of the drop that is removed is removed / drop.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.utility.metrics.paired import PerPatient
from cmrfed.statistics import percentile_interval


@dataclass(frozen=True, eq=False)
class GroupScores:
    """One score (higher is better) of every patient of a group under each of the three networks."""

    seen: PerPatient
    unseen: PerPatient
    helped: PerPatient


Contrast = Callable[[Any, Any, Any], Any]

CONTRASTS: dict[str, Contrast] = {
    "seen": lambda seen, unseen, helped: seen,
    "unseen": lambda seen, unseen, helped: unseen,
    "helped": lambda seen, unseen, helped: helped,
    "drop": lambda seen, unseen, helped: seen - unseen,
    "removed": lambda seen, unseen, helped: helped - unseen,
}
"""Every number that is made from the means of the three networks."""


def group_drops(groups: Mapping[str, GroupScores], replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The drop of every group and its mean over groups, each of which counts alike.

    Intervals are bootstrapped over patients within each group, and paired: a replicate meets all three networks with
    the same patients. Returns {"groups": {group: of}, "mean": of} where `of` is {"seen", "unseen", "helped", "drop",
    "removed", "removed_share": {"value", "ci95"}}, and a group's also has "patients". A share is None unless the drop's
    interval is above 0: there is no share of a drop that was not shown. So is any interval of a single patient.
    Raises ValueError when there is no group.
    """
    if not groups:
        raise ValueError("a drop across groups needs at least one group, found none")
    random = np.random.default_rng(seed)
    means = {name: _means(scores) for name, scores in groups.items()}
    drawn = {name: _replicates(scores, replicates, random) for name, scores in groups.items()}
    known = {name: len(scores.seen) > 1 for name, scores in groups.items()}
    whole = np.mean(list(means.values()), axis=0), np.mean(list(drawn.values()), axis=0)
    return {
        "groups": {
            name: _contrasts(means[name], drawn[name], known[name]) | {"patients": len(groups[name].seen)}
            for name in groups
        },
        "mean": _contrasts(*whole, all(known.values())),
    }


def _stacked(scores: GroupScores) -> Float[np.ndarray, "3 patient"]:
    return np.stack([scores.seen, scores.unseen, scores.helped])


def _means(scores: GroupScores) -> Float[np.ndarray, " 3"]:
    return _stacked(scores).mean(axis=1)


def _replicates(scores: GroupScores, replicates: int, random: np.random.Generator) -> Float[np.ndarray, "3 replicate"]:
    patients = len(scores.seen)
    return _stacked(scores)[:, random.integers(patients, size=(replicates, patients))].mean(axis=2)


def _contrasts(means: Float[np.ndarray, " 3"], drawn: Float[np.ndarray, "3 replicate"], known: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: {"value": float(contrast(*means)), "ci95": percentile_interval(contrast(*drawn)) if known else None}
        for name, contrast in CONTRASTS.items()
    }
    shown = known and found["drop"]["ci95"][0] > 0
    drop, removed = CONTRASTS["drop"], CONTRASTS["removed"]
    found["removed_share"] = (
        {
            "value": float(removed(*means) / drop(*means)),
            "ci95": percentile_interval(removed(*drawn) / drop(*drawn)),
        }
        if shown
        else None
    )
    return found
