"""The area under the ROC curve over patients, how sure so few patients make it, and the gain over a rival's.

Intervals are Newcombe's score intervals (Statistics in Medicine 2006;25:559-573, method 5): for m members, n
non-members and an area A, all areas t that |A - t| <= z sqrt(V(t)) does not exclude, with

    V(t) = t (1 - t) (1 + (N - 1) ((1 - t) / (2 - t) + t / (1 + t))) / (m n),    N = (m + n) / 2.

V(0.5) = (m + n + 1) / (12 m n) is Mann and Whitney's variance, so the interval leaves out 0.5 exactly where their test
rejects it. The bootstrap's percentiles, by contrast, are far too narrow with few patients, and a single point where an
attack tells all of them apart: `tests/evaluation/leakage/test_areas.py` counts both.
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.stats import norm

MemberScores = Float[np.ndarray, " member"]
NonMemberScores = Float[np.ndarray, " non_member"]
Sides = tuple[MemberScores, NonMemberScores]

_NEXT_TO = 1e-12


def refuse_unrankable(members: MemberScores, non_members: NonMemberScores) -> None:
    """Raise ValueError when a side is empty or a score is not finite."""
    if min(len(members), len(non_members)) == 0:
        raise ValueError(f"leakage needs members and non-members, found {len(members)} and {len(non_members)}")
    if not (np.isfinite(members).all() and np.isfinite(non_members).all()):
        raise ValueError("a patient's score is not finite; its rank would mean nothing")


def auc(members: MemberScores, non_members: NonMemberScores) -> float:
    """P[member > non-member] + P[equal] / 2: the area under the ROC curve (Mann and Whitney)."""
    ordered = np.sort(non_members)
    below, up_to = (np.searchsorted(ordered, members, side=side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(non_members)))


def auc_interval(area: float, members: int, non_members: int, level: float = 0.95) -> list[float]:
    """[low, high] of an area over so many patients, both between 0 and 1.

    Ties between patients make it wider than it need be. Raises ValueError when a side is empty.
    """
    if min(members, non_members) < 1:
        raise ValueError(f"an interval needs members and non-members, found {members} and {non_members}")
    return [_lowest(area, members, non_members, level), 1 - _lowest(1 - area, members, non_members, level)]


def auc_gain(attack: Sides, rival: Sides) -> tuple[float, list[float]]:
    """(AUC of the attack - AUC of the rival, its 95 % interval), both scoring the same patients in the same order.

    Each area's interval makes that of the difference (MOVER: Zou and Donner, Statistics in Medicine 2008), the areas'
    correlation being that of the patients' placements (DeLong et al., Biometrics 1988).
    Raises ValueError when a side is empty or a score is not finite.
    """
    for scores in (attack, rival):
        refuse_unrankable(*scores)
    sides = [len(side) for side in attack]
    one, other = auc(*attack), auc(*rival)
    (low, high), (other_low, other_high) = (auc_interval(area, *sides) for area in (one, other))
    correlation = _correlation(attack, rival)
    below = _apart(one - low, other_high - other, correlation)
    above = _apart(high - one, other - other_low, correlation)
    return one - other, [one - other - below, one - other + above]


def _lowest(area: float, members: int, non_members: int, level: float) -> float:
    """The smallest area that the interval holds."""
    if area <= _NEXT_TO:
        return 0.0
    z = float(norm.ppf((1 + level) / 2))

    def beyond(t: float) -> float:
        return (area - t) ** 2 - z**2 * _variance(t, members, non_members)

    return float(brentq(beyond, 0.0, area - _NEXT_TO))


def _variance(t: float, members: int, non_members: int) -> float:
    spread = (1 - t) / (2 - t) + t / (1 + t)
    return t * (1 - t) * (1 + ((members + non_members) / 2 - 1) * spread) / (members * non_members)


def _apart(one: float, other: float, correlation: float) -> float:
    """Length of the difference between two errors of that correlation."""
    return float(np.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0)))


def _correlation(attack: Sides, rival: Sides) -> float:
    """Of the two areas; 0, which is cautious for scores that agree, where it cannot be told."""
    if min(len(side) for side in attack) < 2:
        return 0.0
    sides = zip(_placed(*attack), _placed(*rival), strict=True)
    covariance = np.sum([np.cov(first, second) / len(first) for first, second in sides], axis=0)
    spread = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    return float(covariance[0, 1]) / spread if spread > 0 else 0.0


def _placed(members: MemberScores, non_members: NonMemberScores) -> Sides:
    """Each patient's placement: the share of the other side that the area counts as told apart from them."""
    above = (members[:, None] > non_members) + 0.5 * (members[:, None] == non_members)
    return above.mean(axis=1), above.mean(axis=0)
