"""How well any test can tell a release with a patient from one without: the whole curve, of which (epsilon, delta) is
one point (f-differential privacy: Dong, Roth and Su 2022, arXiv:1905.02383).

With P the release with the patient and Q the one without, the curve is kept as its two privacy profiles

    removed(epsilon) = sup_E P(E) - e^epsilon Q(E),    added(epsilon) = sup_E Q(E) - e^epsilon P(E),

from above and at finitely many epsilons, so that whatever is computed from them errs towards more leakage. For T
full-batch releases with noise multiplier sigma the curve is mu-GDP with mu = sqrt(T) / sigma, in closed form (Balle
and Wang 2018, arXiv:1805.06530); with Poisson sampling each direction is composed as the PRV accountant composes one,
within the errors that it states.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float
from opacus.accountants.analysis.prv.prvs import DiscretePRV
from scipy.optimize import brentq
from scipy.special import expit, log_ndtr, ndtr

from cmrfed.privacy.accounting import LOSS_DELTA_ERROR, GaussianEvent, discrete_losses

Losses = Float[np.ndarray, " loss"]

_POINTS = 400
_LARGEST_LOSS = 700.0
"""e^epsilon is still a number."""
_NO_PART = 1e-300


@dataclass(frozen=True, eq=False)
class TradeOff:
    """Both privacy profiles from above, at `epsilons` from 0 up."""

    epsilons: Losses
    removed: Losses
    added: Losses

    @classmethod
    def gaussian(cls, mu: float) -> "TradeOff":
        """Of N(mu, 1) against N(0, 1)."""
        epsilons = np.linspace(0, min(mu * (mu / 2 + 8), _LARGEST_LOSS), _POINTS)
        profile = gaussian_delta(mu, epsilons)
        return cls(epsilons, profile, profile)

    @cached_property
    def odds(self) -> Losses:
        """e^epsilon."""
        return np.exp(self.epsilons)

    @cached_property
    def larger(self) -> Losses:
        """The larger of the two profiles, which bounds both directions."""
        return np.maximum(self.removed, self.added)

    def false_positives(self, power: float) -> float:
        """The least false positive rate of any test with this power, in whichever direction it is smaller."""
        by_positives = np.max((power - self.larger) / self.odds)
        by_negatives = np.max(1 - self.larger - self.odds * (1 - power))
        return max(0.0, float(by_positives), float(by_negatives))

    def accuracy(self, parts: Float[np.ndarray, " part"]) -> Float[np.ndarray, " part"]:
        """The chance that a guess at a fair coin is right if the surest `parts` (0 <= part <= 1) of them are made.

        A guess at a loss l is right with probability p = 1 / (1 + e^-|l|). For every p0 = 1 / (1 + e^-epsilon) the
        right guesses among a part u are at most p0 u + E(p - p0)+, where the last term is (1 - p0) / 2 times both
        profiles' sum.
        """
        surely = expit(self.epsilons)
        beyond = (1 - surely) * (self.removed + self.added) / 2
        return np.minimum(1.0, (surely + beyond / np.maximum(parts, _NO_PART)[:, None]).min(axis=1))


def gaussian_delta(mu: float, epsilons: Losses) -> Losses:
    """Balle and Wang's closed form: Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu)."""
    lost = np.exp(epsilons + log_ndtr(-mu / 2 - epsilons / mu))
    return np.maximum(ndtr(mu / 2 - epsilons / mu) - lost, 0.0)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon of mu-GDP at `delta`, the inverse of `gaussian_delta`; 0 where delta alone suffices."""

    def above(epsilon: float) -> float:
        return float(gaussian_delta(mu, np.array([epsilon]))[0]) - delta

    return 0.0 if above(0.0) <= 0 else float(brentq(above, 0.0, mu * (mu / 2 + 40)))


@lru_cache(maxsize=64)
def trade_off(event: GaussianEvent) -> TradeOff:
    """The curve of `event`, from above. Raises CannotBound where the PRV accountant's numerics fail."""
    if event.sample_rate == 1:
        return TradeOff.gaussian(_mu(event))
    losses = discrete_losses(event)
    epsilons = np.linspace(0, 1, _POINTS) ** 2 * float(losses.removed.domain.t_max)
    return TradeOff(epsilons, *(_from_above(loss, losses.error, epsilons) for loss in (losses.removed, losses.added)))


def least_epsilon(event: GaussianEvent, delta: float) -> float:
    """Epsilon of `event` from below: what a mechanism as leaky as this one costs at the least.

    Raises CannotBound as `trade_off` does.
    """
    if event.sample_rate == 1:
        return gaussian_epsilon(_mu(event), delta)
    losses = discrete_losses(event)
    lowest, _, _ = losses.removed.compute_epsilon(delta, LOSS_DELTA_ERROR, losses.error)
    return max(float(lowest), 0.0)


def _mu(event: GaussianEvent) -> float:
    return math.sqrt(event.steps) / event.noise_multiplier


def _from_above(loss: DiscretePRV, error: float, epsilons: Losses) -> Losses:
    """E(1 - e^(epsilon - loss))+, the profile, by Gopi et al.'s upper bound (theorem 5.5)."""
    losses, shifted = loss.domain.ts, epsilons - error
    beyond, tilted = (_from_end(mass) for mass in (loss.pmf, loss.pmf * np.exp(-losses)))
    first = np.searchsorted(losses, shifted)
    return np.clip(beyond[first] - np.exp(shifted) * tilted[first] + LOSS_DELTA_ERROR, 0.0, 1.0)


def _from_end(mass: Losses) -> Float[np.ndarray, " _"]:
    """Sums from each place to the end, and 0 beyond it."""
    return np.append(np.cumsum(mass[::-1])[::-1], 0.0)
