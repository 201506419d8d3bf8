"""How much privacy was lost at the very least, by an audit that knows the shape of what is claimed: two sharper bounds
beside that of `cmrfed.privacy.canaries`, from the same run and coins.

That bound holds whatever the mechanism is, and is far below the truth: of all mechanisms with this epsilon and delta it
reckons with the worst. A plan claims more, a whole trade-off curve (`cmrfed.privacy.trade_off`), and for every noise
multiplier sigma there is one. Each bound here refutes curves: had the mechanism this curve, or a more private one, so
many right guesses would come up with probability 1 - confidence at most. Of the plan's own kind, with its sampling and
steps, every sigma from `noise_multiplier` up is refuted, and `epsilon_lower` is what that one costs, from below. The
refutation of a curve is a proof whatever the truth is; `epsilon_lower` is one **if the true curve is one of these**.

by_curve: for whatever mechanism has the curve F (F(x) is the largest power at false positive rate x), canaries that
    interfere with one another included (Mahloujifar, Melis and Chaudhuri 2025, arXiv:2410.22235). With p_i the chance
    that i of r guesses are right, of m canaries, for every t

        sum_(i >= t) (i / m) p_i  <=  F( sum_(t-1 <= i < r) ((r - i) / m) p_i ):

    whoever guesses canary j right, t - 1 or more others being right, could have been wrong with as many others right,
    and how much less often is what F limits; then Jensen over canaries. Given sum_(i >= v) p_i = error, the least
    p_(v-1), p_(v-2), ... that this admits are found one after the other; where all together make more than 1, the curve
    is refuted.

by_plan: for mechanisms that **treat canaries independently** of each other, as a plan's does: sampling and noise are
    each patient's and each weight's own, and what else is in a step (other patients' gradients, at weights that all
    saw) depends on nothing but what was released before. By induction over steps all that is ever seen is
    post-processing of m independent releases, one a canary, and of what is independent of them. Of all guessers none is
    right more often than the one who guesses the canaries with the largest privacy losses: given what was released,
    guesses are right independently, with chances that grow with these losses. Given U, the part of all losses that is
    as large, each of that one's r guesses is right with the chance accuracy(U), and U ~ Beta(r + 1, m - r), the
    (r + 1)-th of m uniform numbers (order statistics, as in Xiang et al. 2025, arXiv:2509.08704). Shares of noise,
    rounds and local steps change nothing in this; adaptive clipping does, where all canaries move one number together.

The part of the canaries that is guessed is fixed beforehand, and so is which bound decides; nothing is chosen by
looking, and no correction is needed. Scores are only put in order, so that the confidence needs no assumption on how
they are distributed. (Agrawal et al. 2026, arXiv:2606.12733, use a sum of the canaries' own signals, which is Gaussian
in the limit of many; here all holds for however few.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field
from scipy.stats import beta, binom

from cmrfed.config import Stage
from cmrfed.privacy.accounting import CannotBound, GaussianEvent
from cmrfed.privacy.canaries import guess
from cmrfed.privacy.trade_off import TradeOff, least_epsilon, trade_off

_FURTHEST = 64.0
"""Noise is searched between the plan's over this and the plan's times this."""
_PRECISION = 1e-3
_ROUNDING = 1e-9
_CELLS = 2000
_SMALLEST = 1e-9


class CurveBound(Stage):
    """What one audit found: of `canaries`, `guesses` were guessed and `correct` guessed right.

    With probability `confidence` the mechanism is none of the plan's kind with a noise multiplier of `noise_multiplier`
    or more, and hence costs `epsilon_lower` at least. None, and 0, where nothing was refuted.
    """

    canaries: int = Field(ge=1)
    guesses: int = Field(ge=0)
    correct: int = Field(ge=0)
    noise_multiplier: float | None = Field(gt=0)
    epsilon_lower: float = Field(ge=0)
    confidence: float = Field(gt=0, lt=1)
    delta: float = Field(ge=0, lt=1)


@dataclass(frozen=True)
class Method:
    """One of the two bounds. `part`: of all canaries that are guessed; near the best between epsilon 1 and 8.

    refutes: whether so many canaries, guesses and right guesses refute a curve with at most this error.
    """

    part: float
    refutes: Callable[[TradeOff, int, int, int, float], bool]

    def guesses(self, canaries: int) -> int:
        """How many are guessed: an even number."""
        return 2 * round(self.part * canaries / 2)


def audit_curve(
    method: Method,
    scores: Float[np.ndarray, " canary"],
    inserted: Bool[np.ndarray, " canary"],
    event: GaussianEvent,
    delta: float,
    confidence: float = 0.95,
) -> CurveBound:
    """The audit of one run that claims `event`; `scores` and `inserted` as `audit_canaries` takes them."""
    correct = int(np.sum(guess(scores, method.guesses(len(scores))) == np.where(inserted, 1, -1)))
    return curve_bound(method, len(scores), correct, event, delta, confidence)


def curve_bound(
    method: Method, canaries: int, correct: int, event: GaussianEvent, delta: float, confidence: float = 0.95
) -> CurveBound:
    """What so many right guesses prove."""
    guesses = method.guesses(canaries)

    def refuted(other: GaussianEvent) -> bool:
        """Nothing is refuted whose curve cannot be computed."""
        try:
            return method.refutes(trade_off(other), canaries, guesses, correct, 1 - confidence)
        except CannotBound:
            return False

    found = _least_refuted(event, refuted)
    return CurveBound(
        canaries=canaries,
        guesses=guesses,
        correct=correct,
        noise_multiplier=found.noise_multiplier if found else None,
        epsilon_lower=least_epsilon(found, delta) if found else 0.0,
        confidence=confidence,
        delta=delta,
    )


def power(method: Method, canaries: int, claimed: TradeOff, actual: TradeOff, error: float) -> float:
    """The chance that `claimed` is refuted where independent canaries with the curve `actual` are guessed at best."""
    fewest = fewest_that_refute(method, canaries, claimed, error)
    return 0.0 if fewest is None else chance_by_plan(actual, canaries, method.guesses(canaries), fewest)


def fewest_that_refute(method: Method, canaries: int, curve: TradeOff, error: float) -> int | None:
    """Right guesses that are needed to refute the curve; None where all of them would not."""
    guesses = method.guesses(canaries)
    if not method.refutes(curve, canaries, guesses, guesses, error):
        return None
    low, high = -1, guesses  # `high` refutes, `low` does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if method.refutes(curve, canaries, guesses, middle, error) else (middle, high)
    return high


def refutes_by_curve(curve: TradeOff, canaries: int, guesses: int, correct: int, error: float) -> bool:
    """Whether no mechanism with this curve guesses `correct` or more right with a chance above `error`."""
    right, wrong = error * correct / canaries, error * (guesses - correct) / canaries
    for count in range(correct - 1, -1, -1):  # what the chance of `count` right guesses must add at the least
        missing = curve.false_positives(right) - wrong
        if missing <= 0 or (right + wrong) * canaries / guesses > 1 + _ROUNDING:
            break
        wrong += missing
        right += missing * count / (guesses - count)
    return guesses > 0 and (right + wrong) * canaries / guesses > 1 + _ROUNDING


def refutes_by_plan(curve: TradeOff, canaries: int, guesses: int, correct: int, error: float) -> bool:
    """Whether independent canaries with this curve are guessed that well with a chance of `error` at most."""
    return chance_by_plan(curve, canaries, guesses, correct) <= error


def chance_by_plan(curve: TradeOff, canaries: int, guesses: int, correct: int) -> float:
    """The chance of `correct` right guesses or more of the best guesser, from above: an upper sum over cells of U."""
    edges, chances = _cells(canaries, guesses)
    return float(chances @ binom.sf(correct - 1, guesses, curve.accuracy(edges)))


@lru_cache(maxsize=64)
def _cells(canaries: int, guesses: int) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """(Lower edges, chances) of cells of U, the part of all losses that the guessed ones make up."""
    if guesses == canaries:
        return np.ones(1), np.ones(1)
    below = np.concatenate([[0.0], np.geomspace(_SMALLEST, 1 / _CELLS, 40), np.arange(2, _CELLS) / _CELLS])
    return beta.ppf(below, guesses + 1, canaries - guesses), np.diff(below, append=1.0)


BY_CURVE = Method(0.15, refutes_by_curve)
BY_PLAN = Method(0.6, refutes_by_plan)


def _least_refuted(event: GaussianEvent, refuted: Callable[[GaussianEvent], bool]) -> GaussianEvent | None:
    """The event with the least noise that is refuted, to one part in a thousand and from above."""

    def at(factor: float) -> GaussianEvent:
        return event.model_copy(update={"noise_multiplier": event.noise_multiplier * factor})

    low = high = 1.0
    while low > 1 / _FURTHEST and refuted(at(low)):
        low, high = low / 2, low
    while not refuted(at(high)):
        low, high = high, 2 * high
        if high > _FURTHEST:
            return None
    while high / low > 1 + _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if refuted(at(middle)) else (middle, high)
    return at(high)
