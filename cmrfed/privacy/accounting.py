"""From what was released to epsilon: the mechanism as data, and accountants that compose it.

All figures hold for one patient under add-or-remove adjacency. Opacus supplies the numerical accountants: PRV (Gopi et
al. 2021, arXiv:2106.02848), whose upper bound is reported, and Renyi DP (Mironov et al. 2019, arXiv:1908.10530) as a
check. Its GDP accountant can under-report and is not offered.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache

from opacus.accountants import PRVAccountant, RDPAccountant
from pydantic import Field
from scipy.optimize import brentq

from cmrfed.config import Stage, UserError

ACCOUNTANTS = {"prv": PRVAccountant, "rdp": RDPAccountant}
_LARGEST_NOISE_MULTIPLIER = 1e3


class GaussianEvent(Stage):
    """`steps` releases of sum + N(0, (noise_multiplier C)^2), each over an independent Poisson sample of the patients.

    Each patient is taken with probability `sample_rate` and contributes at most C in Euclidean norm.
    """

    sample_rate: float = Field(gt=0, le=1)
    noise_multiplier: float = Field(gt=0)
    steps: int = Field(ge=1)


def epsilon(events: Iterable[GaussianEvent], delta: float, accountant: str = "prv") -> float:
    """Epsilon of all events composed, an upper bound; 0 when nothing was released."""
    steps: dict[tuple[float, float], int] = {}
    for event in events:
        key = (event.noise_multiplier, event.sample_rate)
        steps[key] = steps.get(key, 0) + event.steps
    history = tuple(sorted((sigma, rate, count) for (sigma, rate), count in steps.items()))
    return _epsilon_of_history(history, delta, accountant) if history else 0.0


@lru_cache(maxsize=4096)
def _epsilon_of_history(history: tuple[tuple[float, float, int], ...], delta: float, accountant: str) -> float:
    """Opacus' figure; its warnings (of log 0 where minus infinity is meant, of orders at the end) change nothing."""
    opacus = ACCOUNTANTS[accountant]()
    opacus.history = list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spent = float(opacus.get_epsilon(delta=delta))
    if not math.isfinite(spent):
        raise UserError(f"the {accountant} accountant cannot bound {history} at delta {delta:g}; raise the noise")
    return spent


def calibrate_noise(
    target_epsilon: float, delta: float, sample_rate: float, steps: int, accountant: str = "prv"
) -> float:
    """The least noise multiplier, to one part in a thousand, whose `steps` cost at most `target_epsilon`.

    Raises UserError when no noise multiplier up to 1,000 reaches the target.
    """

    def cost(sigma: float) -> float:
        return epsilon([GaussianEvent(sample_rate=sample_rate, noise_multiplier=sigma, steps=steps)], delta, accountant)

    low, high = _bracket(cost, target_epsilon)
    root = brentq(lambda sigma: cost(sigma) - target_epsilon, low, high, xtol=1e-4, rtol=1e-4)
    while cost(root) > target_epsilon:  # the accountant's figure wavers by its own tolerance: stay on the safe side
        root *= 1.0005
    return float(root)


def _bracket(cost: Callable[[float], float], target_epsilon: float) -> tuple[float, float]:
    """Noise multipliers (low, high) on either side of the target, from 1 outwards by doubling."""
    high = 1.0
    while cost(high) > target_epsilon:
        high *= 2
        if high > _LARGEST_NOISE_MULTIPLIER:
            raise UserError(
                f"privacy.target_epsilon: no noise multiplier up to {_LARGEST_NOISE_MULTIPLIER:g} reaches "
                f"{target_epsilon:g}; raise target_epsilon or delta, or lower rounds, local_steps or sample_rate"
            )
    low = high / 2
    while low > 0.05 and _costs_at_most(cost, low, target_epsilon):
        high, low = low, low / 2
    return low, high


def _costs_at_most(cost: Callable[[float], float], sigma: float, target_epsilon: float) -> bool:
    """Whether sigma suffices; where noise is so small that the accountant gives up, it does not."""
    try:
        return cost(sigma) <= target_epsilon
    except (UserError, RuntimeError, ValueError, OverflowError):
        return False
