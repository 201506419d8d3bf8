"""Whether two training sets differ, tested on the same patients: Wilcoxon's signed-rank test, corrected after Holm.

A patient's two scores come from the same images, so their difference is what is resampled and ranked (Wilcoxon,
Biometrics Bulletin 1945; zeros after Pratt, JASA 1959). Over a family of m tests the i-th smallest p becomes
max over j <= i of min(1, (m - j + 1) p_j) (Holm, Scand J Stat 1979), which bounds the chance of any false finding.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import wilcoxon

from cmrfed.evaluation.utility.metrics.scores import COLUMNS, METRICS, StackScores
from cmrfed.statistics import bootstrap_mean_interval

PerPatient = Float[np.ndarray, " patient"]


def signed_rank_p(differences: PerPatient) -> float:
    """Two-sided p that differences are symmetric about 0; 1 where all are 0."""
    return float(wilcoxon(differences, zero_method="pratt").pvalue) if np.any(differences) else 1.0


def holm(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """p-values corrected over their family, in the order given."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def paired_tests(
    scores: Mapping[str, StackScores],
    pairs: Sequence[tuple[str, str]],
    margin: float,
    replicates: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Every metric and structure of every pair (a, b) of training sets.

    Two families are corrected apart: the means over structures, which are the findings, and the single structures,
    which say where a finding comes from.

    Returns rows {"a", "b", "metric", "structure", "difference" (mean of a - b over patients), "ci95" (bootstrap), "p",
    "p_holm", "patients"}; rows of Dice also say whether a is "non_inferior" to b: the interval's lower end is above
    -`margin`. An interval is None, and p is 1, where there are fewer than two patients.
    """
    rows = [
        _row(a, b, metric, column, scores, margin, replicates, seed)
        for a, b in pairs
        for metric in METRICS
        for column in range(len(COLUMNS))
    ]
    p = np.array([row["p"] for row in rows])
    of_means = np.array([row["structure"] == "mean" for row in rows], dtype=bool)
    corrected = np.empty_like(p)
    for family in (of_means, ~of_means):
        corrected[family] = holm(p[family])
    return [row | {"p_holm": float(of_family)} for row, of_family in zip(rows, corrected, strict=True)]


def _row(
    a: str,
    b: str,
    metric: str,
    column: int,
    scores: Mapping[str, StackScores],
    margin: float,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    if scores[a].patients != scores[b].patients:
        raise ValueError(f"{a} and {b} were tested on different patients; a paired test needs the same")
    differences = (scores[a].by_patient(metric) - scores[b].by_patient(metric))[:, column]
    several = len(differences) > 1
    interval = bootstrap_mean_interval(differences, replicates, seed) if several else None
    return {
        "a": a,
        "b": b,
        "metric": metric,
        "structure": COLUMNS[column],
        "difference": float(differences.mean()),
        "ci95": interval,
        "p": signed_rank_p(differences) if several else 1.0,
        "patients": len(differences),
        **({"non_inferior": interval is not None and interval[0] > -margin} if metric == "dice" else {}),
    }
