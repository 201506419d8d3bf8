"""The epsilon that an attack's success refutes: a lower bound beside the upper one that is claimed.

An (epsilon, delta)-private training keeps every test of membership within (Kairouz et al., ICML 2015, arXiv:1311.0776)

    TPR <= e^epsilon FPR + delta,    TNR <= e^epsilon FNR + delta.

Both rates are counted on test patients at a threshold that calibration patients chose, and bounded by Clopper and
Pearson at half the error each (Jagielski et al., NeurIPS 2020, arXiv:2006.07709). They count patients as independent,
though one model scores them all. A bound above the claim proves a fault, but for the stated confidence; one below
proves nothing. One-run bounds (Steinke et al. 2023) are tighter but need a fair coin for every patient, which a
stratified split of fixed size is not.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import beta

Sides = tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]
"""(members', non-members') scores."""
CONFIDENCE = 0.95


def epsilon_lower_bound(
    calibration: Sides,
    test: Sides,
    delta: float = 0.0,
    confidence: float = CONFIDENCE,
) -> float:
    """The largest epsilon that (members, non-members) of `test` refute; 0 where they refute none.

    Scores are higher for members. Raises ValueError when a side is empty.
    """
    if min(len(side) for pair in (calibration, test) for side in pair) == 0:
        raise ValueError("a bound needs members and non-members, both to calibrate and to test on")
    threshold, flags_members = _chosen(calibration, delta, confidence)
    return _bound(*_hits(test, threshold, flags_members), delta, confidence)


def largest_epsilon_lower_bound(members: int, non_members: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """What so many test patients could refute at most: the bound of an attack that is never wrong."""
    perfect = ((members, members), (0, non_members))
    mirrored = ((non_members, non_members), (0, members))
    return max(_bound(*hits, delta, confidence) for hits in (perfect, mirrored))


Hits = tuple[tuple[int, int], tuple[int, int]]
"""((right, of how many), (wrong, of how many))"""


def _chosen(calibration: Sides, delta: float, confidence: float) -> tuple[float, bool]:
    """Threshold and direction with the largest bound on the calibration patients themselves."""
    tried: Float[np.ndarray, " threshold"] = np.unique(np.concatenate(calibration))
    ways = [(float(threshold), flags_members) for threshold in tried for flags_members in (True, False)]
    return max(ways, key=lambda way: _bound(*_hits(calibration, *way), delta, confidence))


def _hits(scores: Sides, threshold: float, flags_members: bool) -> Hits:
    """Members at or above the threshold against such non-members; or non-members below it against such members."""
    members, non_members = scores
    if flags_members:
        right, wrong = (members >= threshold).sum(), (non_members >= threshold).sum()
        return (int(right), len(members)), (int(wrong), len(non_members))
    right, wrong = (non_members < threshold).sum(), (members < threshold).sum()
    return (int(right), len(non_members)), (int(wrong), len(members))


def _bound(right: tuple[int, int], wrong: tuple[int, int], delta: float, confidence: float) -> float:
    """log((lowest right rate - delta) / highest wrong rate), each missed with half the error."""
    error = (1 - confidence) / 2
    lowest = float(beta.ppf(error, right[0], right[1] - right[0] + 1)) if right[0] else 0.0
    highest = float(beta.ppf(1 - error, wrong[0] + 1, wrong[1] - wrong[0])) if wrong[0] < wrong[1] else 1.0
    return float(np.log((lowest - delta) / highest)) if lowest - delta > highest else 0.0
