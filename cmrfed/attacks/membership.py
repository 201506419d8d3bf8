"""From patients' scores to how well an attacker tells members from non-members."""

import numpy as np
from jaxtyping import Float
from sklearn.metrics import auc as area_under
from sklearn.metrics import roc_curve

from cmrfed.statistics import percentile_interval

FALSE_POSITIVE_RATE = 0.01
"""Where the attack's power is read: an attacker who is sure matters more than one who is right on average."""

Scores = Float[np.ndarray, " patient"]


def membership_leakage(
    members: Float[np.ndarray, " member"],
    non_members: Float[np.ndarray, " non_member"],
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, float | int | list[float]]:
    """How well a threshold on patients' scores (higher is "member") tells training patients from others.

    Returns "auc" (0.5 is blind, ties count half) and "tpr_at_1pct_fpr" (Carlini et al., S&P 2022: the share of members
    found by the lowest threshold that flags at most 1 % of non-members; 0.01 is blind), each with "_ci95" [low, high]
    by bootstrap over patients, members and non-members resampled separately; and the numbers of "members" and
    "non_members". With fewer than 100 non-members no threshold flags between 0 and 1 % of them, so the rate is that at
    zero false positives: a rate for exploring, whose interval understates what so few patients leave open.
    The same seed gives the same interval. Raises ValueError when a side is empty or a score is not finite.
    """
    if min(len(members), len(non_members)) == 0:
        raise ValueError(f"leakage needs members and non-members, found {len(members)} and {len(non_members)}")
    if not (np.isfinite(members).all() and np.isfinite(non_members).all()):
        raise ValueError("a patient's score is not finite; its rank would mean nothing")
    generator = np.random.default_rng(seed)
    auc, power = _rates(members, non_members)
    draws = np.array(
        [
            _rates(generator.choice(members, len(members)), generator.choice(non_members, len(non_members)))
            for _ in range(replicates)
        ]
    )
    return {
        "auc": auc,
        "auc_ci95": percentile_interval(draws[:, 0]),
        "tpr_at_1pct_fpr": power,
        "tpr_at_1pct_fpr_ci95": percentile_interval(draws[:, 1]),
        "members": len(members),
        "non_members": len(non_members),
    }


def _rates(members: Scores, non_members: Float[np.ndarray, " other"]) -> tuple[float, float]:
    """AUC, and the true-positive rate at no more than the false-positive rate above."""
    truth = np.r_[np.ones(len(members)), np.zeros(len(non_members))]
    scores = np.r_[members, non_members]
    false_positive, true_positive, _ = roc_curve(truth, scores, drop_intermediate=False)
    power = true_positive[false_positive <= FALSE_POSITIVE_RATE].max()
    return float(area_under(false_positive, true_positive)), float(power)
