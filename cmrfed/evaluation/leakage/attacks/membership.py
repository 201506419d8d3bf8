"""From patients' scores to how well an attacker tells members from non-members."""

from collections.abc import Iterator

import numpy as np

from cmrfed.evaluation.leakage.attacks.areas import MemberScores, NonMemberScores, auc, auc_interval, refuse_unrankable
from cmrfed.statistics import percentile_interval

FALSE_POSITIVE_RATES = {"1pct": 0.01, "0_1pct": 0.001}
"""Where an attack's power is read: an attacker who is sure matters more than one who is right on average."""

Leakage = dict[str, float | int | bool | list[float]]


def membership_leakage(
    members: MemberScores, non_members: NonMemberScores, replicates: int = 1000, seed: int = 0
) -> Leakage:
    """How well a threshold on patients' scores (higher is "member") tells training patients from others.

    Returns "auc" (0.5 is blind, ties count half) with "auc_ci95" (`attacks.areas`) and, for the false-positive
    rates f of 1 % and 0.1 %, "tpr_at_1pct_fpr" and "tpr_at_0_1pct_fpr" (Carlini et al., S&P 2022: the share of members
    found by the lowest threshold that flags at most f of non-members; f is blind), each with "_ci95" [low, high] by
    bootstrap over patients, members and non-members resampled separately; and the numbers of "members" and
    "non_members".

    With fewer than 1 / f non-members no threshold flags between none and f of them, and the rate is that at zero false
    positives: "..._at_zero_fp" says so. Its interval understates what so few patients leave open.
    The same seed gives the same interval. Raises ValueError when a side is empty or a score is not finite.
    """
    refuse_unrankable(members, non_members)
    area = auc(members, non_members)
    found: Leakage = {"auc": area, "auc_ci95": auc_interval(area, len(members), len(non_members))}
    draws = np.array([_powers(*drawn) for drawn in resampled(members, non_members, replicates, seed)])
    powers = _powers(members, non_members)
    for (name, rate), power, replicated in zip(FALSE_POSITIVE_RATES.items(), powers, draws.T, strict=True):
        found |= {f"tpr_at_{name}_fpr": power, f"tpr_at_{name}_fpr_ci95": percentile_interval(replicated)}
        found[f"tpr_at_{name}_fpr_at_zero_fp"] = _allowed(rate, len(non_members)) == 0
    return found | {"members": len(members), "non_members": len(non_members)}


def tpr_at_fpr(members: MemberScores, non_members: NonMemberScores, rate: float) -> float:
    """Share of members above the lowest threshold that flags at most `rate` of non-members."""
    threshold = np.sort(non_members)[-(_allowed(rate, len(non_members)) + 1)]
    return float((members > threshold).mean())


def resampled(
    members: MemberScores, non_members: NonMemberScores, replicates: int, seed: int
) -> Iterator[tuple[MemberScores, NonMemberScores]]:
    """Bootstrap replicates of the two sides: members and non-members drawn separately."""
    random = np.random.default_rng(seed)
    for _ in range(replicates):
        first, second = (random.integers(len(side), size=len(side)) for side in (members, non_members))
        yield members[first], non_members[second]


def _powers(members: MemberScores, non_members: NonMemberScores) -> tuple[float, ...]:
    """The true-positive rate at each of `FALSE_POSITIVE_RATES`."""
    return tuple(tpr_at_fpr(members, non_members, rate) for rate in FALSE_POSITIVE_RATES.values())


def _allowed(rate: float, non_members: int) -> int:
    """How many false positives a rate allows; a rounding error must not forbid the last."""
    return int(np.floor(rate * non_members + 1e-9))
