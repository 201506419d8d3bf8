"""How much privacy was lost at the very least, measured: one run with many canaries.

Steinke, Nasr and Jagielski 2023, arXiv:2305.08846. Each of m canaries is put in or left out by a fair coin of its own.
After the run, r of them are guessed in or out and the others passed over; v guesses are right. Under
(epsilon, delta)-differential privacy v is, but for delta, at most what randomized response at epsilon would give (their
main theorem), so a larger v refutes epsilon. A bound above the ledger's figure proves a fault in code or
accounting; a low one proves nothing, since a better attack might have guessed better.
"""

import numpy as np
from jaxtyping import Bool, Float, Int8
from pydantic import Field
from scipy.special import expit
from scipy.stats import binom

from cmrfed.config import Stage, UserError

_LARGEST_EPSILON = 100.0


class CanaryBound(Stage):
    """What one audit found: of `canaries`, `guesses` were guessed and `correct` guessed right.

    With probability `confidence`, the run was not (epsilon, delta)-private for any epsilon below `epsilon_lower`.
    """

    canaries: int = Field(ge=1)
    guesses: int = Field(ge=0)
    correct: int = Field(ge=0)
    epsilon_lower: float = Field(ge=0)
    confidence: float = Field(gt=0, lt=1)
    delta: float = Field(ge=0, lt=1)


def audit_canaries(
    scores: Float[np.ndarray, " canaries"],
    inserted: Bool[np.ndarray, " canaries"],
    guesses: int,
    delta: float,
    confidence: float = 0.95,
) -> CanaryBound:
    """The audit of one run: `scores`, higher where a canary looks more like one put in, against the coins `inserted`.

    `guesses` must be fixed before the scores are seen, or the confidence is lost. Raises as `guess` does.
    """
    guessed = guess(scores, guesses)
    correct = int(np.sum(guessed == np.where(inserted, 1, -1)))
    lower = epsilon_lower_bound(len(scores), guesses, correct, delta, confidence)
    return CanaryBound(
        canaries=len(scores),
        guesses=guesses,
        correct=correct,
        epsilon_lower=lower,
        confidence=confidence,
        delta=delta,
    )


def guess(scores: Float[np.ndarray, " canaries"], guesses: int) -> Int8[np.ndarray, " canaries"]:
    """+1 (in) for the `guesses` / 2 highest scores, -1 (out) for as many lowest, 0 (no guess) for the rest.

    Equal scores are told apart by position. Raises UserError for an odd or too large number, or a score that is NaN.
    """
    if guesses % 2 or not 0 <= guesses <= len(scores):
        raise UserError(
            f"canary audit: guesses must be even and at most the number of canaries, {len(scores)}; found {guesses}"
        )
    if np.isnan(scores).any():
        raise UserError(f"canary audit: {np.isnan(scores).sum()} of {len(scores)} canaries have no score (NaN)")
    order = np.argsort(scores, kind="stable")
    guessed = np.zeros(len(scores), np.int8)
    guessed[order[: guesses // 2]] = -1
    guessed[order[len(scores) - guesses // 2 :]] = 1
    return guessed


def epsilon_lower_bound(canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95) -> float:
    """The largest epsilon that `correct` of `guesses` refute at this confidence; 0 where they refute none.

    Never above 100. Raises ValueError unless 0 <= correct <= guesses <= canaries.
    """
    low, high = 0.0, _LARGEST_EPSILON
    if p_value(canaries, guesses, correct, low, delta) > 1 - confidence:
        return 0.0
    while high - low > 1e-6:  # what is refuted stays at `low`, so that no rounding can raise the bound
        middle = (low + high) / 2
        if p_value(canaries, guesses, correct, middle, delta) > 1 - confidence:
            high = middle
        else:
            low = middle
    return low


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """The chance of so many right guesses, or more, of any guesser under (epsilon, delta)-differential privacy, at most

        beta + 2 m delta max_i P[v - i <= X < v] / i,    beta = P[X >= v],    X ~ Binomial(r, 1 / (1 + e^-epsilon))

    over i = 1..v, with v = correct, r = guesses, m = canaries. Raises ValueError as `epsilon_lower_bound` does.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"needs 0 <= correct <= guesses <= canaries, found {correct}, {guesses}, {canaries}")
    success = float(expit(epsilon))
    beta = float(binom.sf(correct - 1, guesses, success))
    just_below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, success))
    alpha = float(np.max(just_below / np.arange(1, correct + 1), initial=0.0))
    return min(1.0, beta + 2 * canaries * alpha * delta)
