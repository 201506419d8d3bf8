"""From patients' scores to how well an attacker tells members from non-members."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from cmrfed.statistics import percentile_interval

FALSE_POSITIVE_RATES = {"1pct": 0.01, "0_1pct": 0.001}
"""Where an attack's power is read: an attacker who is sure matters more than one who is right on average."""

Members = Float[np.ndarray, " member"]
NonMembers = Float[np.ndarray, " non_member"]
Leakage = dict[str, float | int | bool | list[float]]


def membership_leakage(members: Members, non_members: NonMembers, replicates: int = 1000, seed: int = 0) -> Leakage:
    """How well a threshold on patients' scores (higher is "member") tells training patients from others.

    Returns "auc" (0.5 is blind, ties count half) and, for the false-positive rates f of 1 % and 0.1 %,
    "tpr_at_1pct_fpr" and "tpr_at_0_1pct_fpr" (Carlini et al., S&P 2022: the share of members found by the lowest
    threshold that flags at most f of non-members; f is blind), each with "_ci95" [low, high] by bootstrap over
    patients, members and non-members resampled separately; and the numbers of "members" and "non_members".

    With fewer than 1 / f non-members no threshold flags between none and f of them, and the rate is that at zero false
    positives: "..._at_zero_fp" says so. Its interval understates what so few patients leave open.
    The same seed gives the same interval. Raises ValueError when a side is empty or a score is not finite.
    """
    _refuse_unrankable(members, non_members)
    draws = [_rates(drawn) for (drawn,) in resampled([(members, non_members)], replicates, seed)]
    found: Leakage = {}
    for key, value, replicated in zip(_KEYS, _rates((members, non_members)), np.array(draws).T, strict=True):
        found |= {key: value, f"{key}_ci95": percentile_interval(replicated)}
    for name, rate in FALSE_POSITIVE_RATES.items():
        found[f"tpr_at_{name}_fpr_at_zero_fp"] = _allowed(rate, len(non_members)) == 0
    return found | {"members": len(members), "non_members": len(non_members)}


_KEYS = ("auc", *(f"tpr_at_{name}_fpr" for name in FALSE_POSITIVE_RATES))


def auc_gain(
    attack: tuple[Members, NonMembers], rival: tuple[Members, NonMembers], replicates: int = 1000, seed: int = 0
) -> tuple[float, list[float]]:
    """(AUC of the attack - AUC of the rival, its 95 % interval), both scoring the same patients in the same order.

    Paired bootstrap: each replicate draws patients once, for both. Raises ValueError as `membership_leakage` does.
    """
    for scores in (attack, rival):
        _refuse_unrankable(*scores)
    draws = [auc(*first) - auc(*second) for first, second in resampled([attack, rival], replicates, seed)]
    return auc(*attack) - auc(*rival), percentile_interval(np.array(draws))


def auc(members: Members, non_members: NonMembers) -> float:
    """P[member > non-member] + P[equal] / 2: the area under the ROC curve (Mann and Whitney)."""
    ordered = np.sort(non_members)
    below, up_to = (np.searchsorted(ordered, members, side=side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(non_members)))


def auc_interval(members: Members, non_members: NonMembers, replicates: int, seed: int) -> list[float]:
    """[low, high], the 95 % bootstrap interval over patients of `auc` alone."""
    draws = [auc(*pair) for (pair,) in resampled([(members, non_members)], replicates, seed)]
    return percentile_interval(np.array(draws))


def tpr_at_fpr(members: Members, non_members: NonMembers, rate: float) -> float:
    """Share of members above the lowest threshold that flags at most `rate` of non-members."""
    threshold = np.sort(non_members)[-(_allowed(rate, len(non_members)) + 1)]
    return float((members > threshold).mean())


def resampled(
    pairs: list[tuple[Members, NonMembers]], replicates: int, seed: int
) -> Iterator[list[tuple[Members, NonMembers]]]:
    """Bootstrap replicates of (members, non-members); all pairs are of the same patients and drawn alike."""
    random = np.random.default_rng(seed)
    members, non_members = (len(side) for side in pairs[0])
    for _ in range(replicates):
        first, second = random.integers(members, size=members), random.integers(non_members, size=non_members)
        yield [(one[first], other[second]) for one, other in pairs]


def _rates(scores: tuple[Members, NonMembers]) -> tuple[float, ...]:
    return auc(*scores), *(tpr_at_fpr(*scores, rate) for rate in FALSE_POSITIVE_RATES.values())


def _allowed(rate: float, non_members: int) -> int:
    """How many false positives a rate allows; a rounding error must not forbid the last."""
    return int(np.floor(rate * non_members + 1e-9))


def _refuse_unrankable(members: Members, non_members: NonMembers) -> None:
    if min(len(members), len(non_members)) == 0:
        raise ValueError(f"leakage needs members and non-members, found {len(members)} and {len(non_members)}")
    if not (np.isfinite(members).all() and np.isfinite(non_members).all()):
        raise ValueError("a patient's score is not finite; its rank would mean nothing")
