"""From what was released to epsilon: the mechanism as data, and the accountants that compose it.

All figures are upper bounds for one patient under add-or-remove adjacency, with Poisson sampling.

prv: privacy loss random variables (Gopi et al. 2021, arXiv:2106.02848) by Opacus, with its stated errors added: about
    0.01 above the exact figure. What ledgers use, so that all sites agree whatever extras they have. It composes only
    the direction in which a patient is removed; that one was the larger wherever both were measured.
rdp: Renyi DP (Mironov et al. 2019, arXiv:1908.10530) by Opacus: looser, by a few per cent
    where epsilon is large and by several times where it is small.
pld: privacy loss distributions, rounded upwards by connecting the dots (Doroshenko et al. 2022, arXiv:2207.04380), by
    Google's dp-accounting, an extra: the tightest, and the larger of both directions.

Opacus' GDP accountant is a central limit approximation that can under-report, and is refused.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.prv import (
    Domain,
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
    compose_heterogeneous,
    discretize,
)
from opacus.accountants.analysis.prv.prvs import DiscretePRV
from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent
from pydantic import BeforeValidator, Field
from scipy.special import ndtr

from cmrfed.config import Stage, UserError

_DELTAS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3)

History = tuple[tuple[float, float, int], ...]
"""(noise_multiplier, sample_rate, steps) of every kind of event; the order does not matter."""

Trial = Callable[[float, float], None]
"""Told of a noise multiplier and the epsilon that it costs."""

_LARGEST_NOISE_MULTIPLIER = 1e3
_MOST_PRV_POINTS = 3e6
_PLD_PRECISION = 1e-4
_FEW_ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
_ORDERS_BELOW_2 = (1.1, 1.25, 1.5, 1.75)
"""They take thirty times as long, and matter where so little noise is added that 2 is the best of the few."""
LOSS_DELTA_ERROR = 1e-10
"""Of `discrete_losses`."""
_LOSS_ERROR = 3e-4
"""In units of the losses' own spread and size, so that no grid is far finer than another."""
_LARGEST_LOSS = 700.0
"""e^loss is still a number."""
_CALIBRATED_TO = 1e-3
"""Epsilon comes this close to its target, from below; the noise multiplier is then at least as close to the least."""


def _today(word: Any) -> Any:
    """A kind of noise by its name of today; the first ledgers and policies have others."""
    return {"site": "local", "shared": "distributed"}.get(word, word) if isinstance(word, str) else word


Noise = Annotated[Literal["local", "distributed"], BeforeValidator(_today)]
"""Whose noise a guarantee rests on. "local": all is the site's own, so that nobody need be trusted. "distributed":
several sites add a share each, and only their sum is ever seen (secure aggregation)."""


class GaussianEvent(Stage):
    """`steps` releases of sum + N(0, (noise_multiplier C)^2), each over an independent Poisson sample of the patients.

    Each patient is taken with probability `sample_rate` and contributes at most C in Euclidean norm; a release over all
    patients, such as a private statistic, has `sample_rate` 1. `noise` says what the guarantee rests on; accountants
    compose both kinds alike.
    """

    sample_rate: float = Field(gt=0, le=1)
    noise_multiplier: float = Field(gt=0)
    steps: int = Field(ge=1)
    noise: Noise = "local"


class CannotBound(UserError):
    """An accountant's numerics failed on this history; another accountant, or more noise, may do."""


@dataclass(frozen=True)
class Bound:
    """One accountant's epsilon, or None and the `problem` that kept it from one."""

    accountant: str
    epsilon: float | None
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """Every accountant's bound on the same events at the same `delta`."""

    delta: float
    bounds: tuple[Bound, ...]

    @property
    def tightest(self) -> Bound | None:
        """The smallest bound: each is valid by itself, so the smallest is. None when every accountant failed."""
        found = [bound for bound in self.bounds if bound.epsilon is not None]
        return min(found, key=lambda bound: bound.epsilon or 0.0, default=None)


def epsilon(events: Iterable[GaussianEvent], delta: float, accountant: str = "prv") -> float:
    """Epsilon of all events composed, an upper bound; 0 when nothing was released.

    Raises UserError for an accountant that is unknown, refused or not installed, CannotBound where its numerics fail.
    """
    if accountant not in _ACCOUNTANTS:
        raise UserError(_refusal(accountant))
    steps: dict[tuple[float, float], int] = {}
    for event in events:
        key = (event.noise_multiplier, event.sample_rate)
        steps[key] = steps.get(key, 0) + event.steps
    history = tuple(sorted((sigma, rate, count) for (sigma, rate), count in steps.items()))
    return _epsilon_of_history(history, delta, accountant) if history else 0.0


def compare(events: Iterable[GaussianEvent], delta: float) -> Comparison:
    """Epsilon of all events under every accountant; one that fails or is not installed is shown with its problem."""
    composed = list(events)
    return Comparison(delta, tuple(_bound(composed, delta, accountant) for accountant in _ACCOUNTANTS))


def calibrate_noise(
    target_epsilon: float,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: str = "prv",
    report: Trial | None = None,
) -> float:
    """The least noise multiplier, to one part in a thousand, whose `steps` cost at most `target_epsilon`.

    `report` is told of every noise multiplier that was tried. Raises UserError when no noise multiplier up to 1,000
    reaches the target, and where `epsilon` does; CannotBound when the target is more than the accountant can bound.
    """

    def cost(log_sigma: float) -> float:
        event = GaussianEvent(sample_rate=sample_rate, noise_multiplier=math.exp(log_sigma), steps=steps)
        found = epsilon([event], delta, accountant)
        if report:
            report(event.noise_multiplier, found)
        return found

    def rough(log_sigma: float) -> float:
        return _rough_epsilon(((math.exp(log_sigma), sample_rate, steps),), delta)

    start = _smallest_near(rough, target_epsilon)
    try:
        return math.exp(_least(cost, start, target_epsilon))
    except CannotBound as error:
        raise CannotBound(
            f"privacy.target_epsilon: {target_epsilon:g} is more than can be calibrated to, for {error}, or lower the "
            "target"
        ) from None


def attacker_true_positive_rate(epsilon: float, delta: float, false_positive_rate: float) -> float:
    """The largest share of participants that any membership attack can name, under (epsilon, delta).

    The attack names at most `false_positive_rate` of those who did not take part. Kairouz et al. 2015, arXiv:1311.0776:

        TPR <= min(e^epsilon FPR + delta, 1 - e^-epsilon (1 - delta - FPR))
    """
    by_participants = math.exp(min(epsilon, 700.0)) * false_positive_rate + delta
    by_others = 1 - math.exp(-epsilon) * (1 - delta - false_positive_rate)
    return min(1.0, by_participants, by_others)


def strongest_attack(
    events: Iterable[GaussianEvent], delta: float, false_positive_rate: float, accountant: str = "prv"
) -> float:
    """The largest true-positive rate that any membership attack can have after the events, by all their guarantees.

    Each delta with its epsilon is a guarantee of the same events, and an attacker is bound by all of them: far more
    tightly than by the one pair that is quoted.
    """
    events, allowed = list(events), 1.0
    for one in (delta, *_DELTAS):
        try:
            bound = epsilon(events, one, accountant)
        except CannotBound:
            continue
        allowed = min(allowed, attacker_true_positive_rate(bound, one, false_positive_rate))
    return allowed


@dataclass(frozen=True)
class DiscreteLosses:
    """Privacy losses of an event with sampling, on a grid: log(P / Q) under P, the release with the patient, and
    log(Q / P) under Q, the one without. Each is right to `error`, but for a probability of LOSS_DELTA_ERROR."""

    removed: DiscretePRV
    added: DiscretePRV
    error: float


def discrete_losses(event: GaussianEvent) -> DiscreteLosses:
    """Composed as the PRV accountant composes one of them. Raises CannotBound where its numerics fail."""
    accountant, kind = _PRV(), (event.noise_multiplier, event.sample_rate, event.steps)
    accountant.history = [kind]
    error = _LOSS_ERROR * max(math.sqrt(event.steps), _rough_epsilon((kind,), LOSS_DELTA_ERROR))
    removed = PoissonSubsampledGaussianPRV(event.sample_rate, event.noise_multiplier)
    added = _Added(event.sample_rate, event.noise_multiplier)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            domain = accountant._get_domain([removed], [event.steps], error, LOSS_DELTA_ERROR)
            if domain.t_max > _LARGEST_LOSS:
                raise ValueError(f"its losses reach {domain.t_max:.0f}")
            composed = [_composed(loss, domain, event.steps) for loss in (removed, added)]
            return DiscreteLosses(composed[0], composed[1], error)
    except (RuntimeError, ValueError, ArithmeticError) as problem:
        raise _cannot_bound((kind,), LOSS_DELTA_ERROR, "prv", str(problem)) from None


@dataclass(frozen=True)
class _Added:
    """The loss of one step in the direction that Opacus has not: log(Q / P) under Q. No Renyi divergence of it is
    larger than that of the other (Mironov, Talwar and Zhang 2019, arXiv:1908.10530), so that a grid as wide will do."""

    sample_rate: float
    noise_multiplier: float

    def cdf(self, losses: Any) -> Any:
        """With x ~ N(0, sigma^2) the loss is -log(1 - q + q e^((x - 1/2) / sigma^2)), below -log(1 - q)."""
        odds = (np.exp(-losses) - 1 + self.sample_rate) / self.sample_rate
        possible = odds > 0
        x = 0.5 + self.noise_multiplier**2 * np.log(np.where(possible, odds, 1.0))
        return np.where(possible, ndtr(-x / self.noise_multiplier), 1.0)


def _composed(loss: PoissonSubsampledGaussianPRV | _Added, domain: Domain, steps: int) -> DiscretePRV:
    truncated = TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max)
    return compose_heterogeneous([discretize(truncated, domain)], [steps])


@lru_cache(maxsize=4096)
def _epsilon_of_history(history: History, delta: float, accountant: str) -> float:
    """One accountant's figure. Its warnings, of log 0 where minus infinity is meant and of orders, change nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spent = _ACCOUNTANTS[accountant](history, delta)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise _cannot_bound(history, delta, accountant, str(error)) from None
    if not math.isfinite(spent):
        raise _cannot_bound(history, delta, accountant, f"it gives {spent}")
    return max(spent, 0.0)


class _PRV(PRVAccountant):
    """Opacus' accountant with its grid sized by few Renyi orders: at least as wide, and twenty times faster."""

    def _get_domain(
        self,
        prvs: list[PoissonSubsampledGaussianPRV],
        num_self_compositions: list[int],
        eps_error: float,
        delta_error: float,
    ) -> Domain:
        """Remark 5.6 of the paper. Refuses, before memory runs out, what is far beyond any protection."""
        steps = sum(num_self_compositions)
        singles = [((prv.noise_multiplier, prv.sample_rate, 1),) for prv in prvs]
        largest_losses = [_rough_epsilon(single, delta_error / (8 * steps)) for single in singles]
        half_width = max(_rough_epsilon(tuple(self.history), delta_error / 4), *largest_losses, eps_error) + 3
        mesh = eps_error / math.sqrt(steps * math.log(12 / delta_error) / 2)
        if not half_width / mesh < _MOST_PRV_POINTS:
            raise ValueError(f"its grid would need {2 * half_width / mesh:.0e} points")
        return Domain.create_aligned(-half_width, half_width, mesh)


def _prv(history: History, delta: float) -> float:
    accountant = _PRV()
    accountant.history = list(history)
    return float(accountant.get_epsilon(delta=delta))


def _rdp(history: History, delta: float) -> float:
    accountant = RDPAccountant()
    accountant.history = list(history)
    return float(accountant.get_epsilon(delta=delta))


def _rough_epsilon(history: History, delta: float) -> float:
    """Epsilon from above, by a few per cent or, where it is small, a few times; quick, and enough to choose a grid by.

    Orders below 2 are tried where 2 is the best of the others: without them a grid for little noise and rare sampling
    is up to twenty times as wide as need be.
    """
    found, best = _renyi_epsilon(history, delta, _FEW_ORDERS)
    return found if best > _FEW_ORDERS[0] else min(found, _renyi_epsilon(history, delta, _ORDERS_BELOW_2)[0])


def _renyi_epsilon(history: History, delta: float, orders: Sequence[float | int]) -> tuple[float, float]:
    """(Epsilon, the order that gives it.)"""
    spent = sum(
        compute_rdp(q=q, noise_multiplier=sigma, steps=steps, orders=list(orders)) for sigma, q, steps in history
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, best = get_privacy_spent(orders=list(orders), rdp=spent, delta=delta)
    return float(found), float(best)


def _pld(history: History, delta: float) -> float:
    """A grid of h overstates epsilon by about n h^2 over n steps: h is chosen for one part in ten thousand."""
    try:
        import dp_accounting
        from dp_accounting.pld import PLDAccountant
    except ImportError:
        raise UserError(
            'the pld accountant needs Google\'s dp-accounting, which is not installed: pip install "cmrfed[pld]"'
        ) from None
    steps = sum(count for _, _, count in history)
    interval = math.sqrt(_PLD_PRECISION * _rough_epsilon(history, delta) / steps)
    adjacency = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = PLDAccountant(adjacency, value_discretization_interval=interval)
    for sigma, rate, count in history:
        sampled = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        accountant.compose(dp_accounting.SelfComposedDpEvent(sampled, count))
    return float(accountant.get_epsilon(delta))


_ACCOUNTANTS: dict[str, Callable[[History, float], float]] = {"prv": _prv, "rdp": _rdp, "pld": _pld}


def _refusal(accountant: str) -> str:
    if accountant == "gdp":
        return (
            "the gdp accountant is refused: it is a central limit approximation, and can report less than the true "
            "epsilon; use prv, rdp or pld"
        )
    return f"unknown accountant {accountant!r}; accountants are {', '.join(_ACCOUNTANTS)}"


def _cannot_bound(history: History, delta: float, accountant: str, reason: str) -> CannotBound:
    kinds = " and ".join(f"{count} steps of noise {sigma:g} at rate {rate:g}" for sigma, rate, count in history[:3])
    return CannotBound(
        f"the {accountant} accountant cannot bound {kinds} at delta {delta:g} ({' '.join(reason.split())}); "
        "raise the noise or choose another accountant"
    )


def _bound(events: list[GaussianEvent], delta: float, accountant: str) -> Bound:
    try:
        return Bound(accountant, epsilon(events, delta, accountant))
    except UserError as error:
        return Bound(accountant, None, str(error))


def _smallest_near(rough: Callable[[float], float], target_epsilon: float) -> float:
    """log sigma at which a quick bound from above reaches the target; the largest there is where none does."""
    low, high = math.log(1e-4), math.log(_LARGEST_NOISE_MULTIPLIER)
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if rough(middle) <= target_epsilon else (middle, high)
    return high


def _least(cost: Callable[[float], float], start: float, target_epsilon: float) -> float:
    """The least log sigma that costs at most the target, by secants through log epsilon, which is nearly straight in
    it; whatever is returned was found to cost no more than the target."""
    (low, above), (high, below) = _around(cost, start, target_epsilon)
    aim = math.log(target_epsilon) - _CALIBRATED_TO / 2
    while below < math.log(target_epsilon) - _CALIBRATED_TO and high - low > 1e-6:
        middle = low + (high - low) * (above - aim) / (above - below)
        middle = min(max(middle, low + 0.01 * (high - low)), high - 0.01 * (high - low))
        found = _log_cost(cost, middle)
        if found > math.log(target_epsilon):
            low, above = middle, found
        else:
            high, below = middle, found
    return high


Point = tuple[float, float]
"""(log sigma, log epsilon)."""


def _around(cost: Callable[[float], float], start: float, target_epsilon: float) -> tuple[Point, Point]:
    """Points on either side of the target, by steps outwards from the start that double."""
    target, step = math.log(target_epsilon), 0.02
    points = [(start, _log_cost(cost, start))]
    upwards = points[0][1] > target
    while (points[-1][1] > target) == upwards:
        log_sigma = points[-1][0] + (step if upwards else -step)
        if log_sigma > math.log(_LARGEST_NOISE_MULTIPLIER):
            raise UserError(
                f"privacy.target_epsilon: no noise multiplier up to {_LARGEST_NOISE_MULTIPLIER:g} reaches "
                f"{target_epsilon:g}; raise target_epsilon or delta, or lower rounds, local_steps or sample_rate"
            )
        points, step = [points[-1], (log_sigma, _log_cost(cost, log_sigma))], 2 * step
    return (points[0], points[1]) if upwards else (points[1], points[0])


def _log_cost(cost: Callable[[float], float], log_sigma: float) -> float:
    return math.log(max(cost(log_sigma), 1e-9))
