"""Epsilon agrees with closed forms, other code and a bound from below, composes, and calibration never overshoots."""

import math
import sys
from itertools import pairwise

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import GaussianAccountant, PRVAccountant, RDPAccountant
from scipy.optimize import brentq
from scipy.signal import fftconvolve
from scipy.special import logsumexp
from scipy.stats import norm

from cmrfed.config import FederationConfig, PrivacyConfig, TrainingConfig, UserError
from cmrfed.privacy import (
    CannotBound,
    GaussianEvent,
    LocalNoise,
    attacker_true_positive_rate,
    calibrate_noise,
    compare,
    epsilon,
    strongest_attack,
)
from cmrfed.privacy.accounting import _FEW_ORDERS, _renyi_epsilon, _rough_epsilon

ALL = ("prv", "rdp", "pld")
MIXED = [(1.5, 0.2, 30), (3.0, 0.7, 20), (6.0, 1.0, 2)]
"""A model, a second one on the same patients, and a private statistic: (noise multiplier, sample rate, steps)."""


def event(sigma, rate, steps):
    return GaussianEvent(noise_multiplier=sigma, sample_rate=rate, steps=steps)


def events(kinds):
    return [event(*kind) for kind in kinds]


def exact_gaussian_epsilon(mu, delta):
    """Balle and Wang 2018, arXiv:1805.06530, theorem 8, for Gaussian releases of 1/mu^2 = 1 / sum(1/sigma^2)."""

    def excess(eps):
        return norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu) - delta

    return brentq(excess, 1e-6, 200)


def googles(kinds, delta):
    """dp-accounting's figure by loss distributions, through its own events and on a finer grid."""
    accountant = PLDAccountant(value_discretization_interval=2e-4)
    for sigma, rate, steps in kinds:
        sampled = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        accountant.compose(dp_accounting.SelfComposedDpEvent(sampled, steps))
    return accountant.get_epsilon(delta)


def renyi(kinds, delta):
    """Renyi DP by quadrature of E (1 - q + q exp((x - 1/2) / sigma^2))^alpha over x ~ N(0, sigma^2), and the conversion
    of Balle et al. 2020, arXiv:1905.09982, theorem 21."""
    order = np.array([*np.arange(1.1, 11, 0.1), *np.arange(12, 64)])
    spent = np.zeros(len(order))
    for sigma, rate, steps in kinds:
        x, step = np.linspace(-12 * sigma, 64 + 12 * sigma, 40_000, retstep=True)
        ratio = np.log1p(rate * np.expm1((x - 0.5) / sigma**2))
        moments = [logsumexp(alpha * ratio + norm.logpdf(x, 0, sigma)) + math.log(step) for alpha in order]
        spent += steps * np.array(moments) / (order - 1)
    return np.min(spent + np.log1p(-1 / order) - (math.log(delta) + np.log(order)) / (order - 1))


def loss_distribution(sigma, rate, direction, width):
    """P[loss in [i width, (i + 1) width)] of one step, from i0 on, for "remove" and "add": the closed-form cdf.

    With x ~ N(0, sigma^2) without the patient, and a mixture of that and N(1, sigma^2) with it, the loss is
    +- log(1 - q + q exp((x - 1/2) / sigma^2)). Gopi et al. 2021, propositions B.1 and B.4.
    """
    ends = np.array([-12 * sigma, 1 + 12 * sigma])
    low, high = np.log1p(rate * np.expm1((ends - 0.5) / sigma**2))
    first, last = math.floor(low / width), math.ceil(high / width)
    argument = np.expm1(np.arange(first, last + 1) * width) / rate + 1
    x = np.full(len(argument), -np.inf)
    x[argument > 0] = sigma**2 * np.log(argument[argument > 0]) + 0.5
    with_patient = 0.0 if direction == "add" else rate
    mass = np.diff((1 - with_patient) * norm.cdf(x, 0, sigma) + with_patient * norm.cdf(x, 1, sigma))
    return (-last, mass[::-1]) if direction == "add" else (first, mass)


def epsilon_from_below(kinds, delta, direction, width=5e-4):
    """A bound from below that shares no code with any accountant: losses rounded down, convolved step by step."""
    start, total = 0, np.ones(1)
    for sigma, rate, steps in kinds:
        first, mass = loss_distribution(sigma, rate, direction, width)
        for _ in range(steps):
            start, total = start + first, np.maximum(fftconvolve(total, mass), 0)
            kept = np.flatnonzero(total > 1e-16)
            start, total = start + kept[0], total[kept[0] : kept[-1] + 1]
    losses = (start + np.arange(len(total))) * width

    def excess(eps):
        above = losses > eps
        return np.sum(total[above] * -np.expm1(eps - losses[above])) - delta

    return brentq(excess, 0, losses[-1]) if excess(0) > 0 else 0.0


@pytest.mark.parametrize("accountant", ALL)
@pytest.mark.parametrize(("sigma", "steps", "delta"), [(4.0, 100, 1e-3), (1.5, 3, 1e-5), (3.0, 1, 1e-6)])
def test_a_release_over_all_patients_costs_the_closed_form(accountant, sigma, steps, delta):
    exact = exact_gaussian_epsilon(steps**0.5 / sigma, delta)
    spent = epsilon([event(sigma, 1.0, steps)], delta, accountant)
    assert exact <= spent <= (1.45 if accountant == "rdp" else 1.01) * exact


@pytest.mark.parametrize("accountant", ["prv", "pld"])
def test_releases_of_different_noise_over_all_patients_cost_the_closed_form(accountant):
    kinds = [(2.0, 1.0, 3), (5.0, 1.0, 10), (9.0, 1.0, 1)]
    exact = exact_gaussian_epsilon(sum(steps / sigma**2 for sigma, _, steps in kinds) ** 0.5, 1e-5)
    assert exact <= epsilon(events(kinds), 1e-5, accountant) <= 1.01 * exact


SETTINGS = [
    ([(1.0, 0.1, 200)], 1e-3),
    ([(2.0, 0.5, 100)], 1e-4),
    ([(0.8, 0.5, 10)], 1e-6),
    (MIXED, 1e-5),
]


@pytest.mark.parametrize(("kinds", "delta"), SETTINGS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_with_sampling_every_accountant_agrees_with_dp_accounting_quadrature_and_opacus(kinds, delta):
    spent = {accountant: epsilon(events(kinds), delta, accountant) for accountant in ALL}
    tight = googles(kinds, delta)
    assert spent["pld"] == pytest.approx(tight, rel=5e-4)
    assert spent["prv"] == pytest.approx(tight, rel=0.01)
    assert spent["rdp"] == pytest.approx(renyi(kinds, delta), rel=1e-4)
    for name, accountant in {"prv": PRVAccountant(), "rdp": RDPAccountant()}.items():
        accountant.history = list(kinds)
        assert spent[name] == pytest.approx(accountant.get_epsilon(delta), rel=1e-5)


@pytest.mark.parametrize(
    ("kinds", "delta"),
    [
        ([(0.6, 0.05, 40)], 1e-6),
        ([(1.0, 0.5, 5)], 1e-5),
        ([(2.0, 0.8, 30)], 1e-3),
        ([(8.0, 0.2, 60)], 1e-6),
        (MIXED, 1e-5),
    ],
)
def test_every_accountant_is_above_the_true_epsilon_in_both_directions(kinds, delta):
    """Opacus' PRV composes the removal of a patient only: adding one must never cost more."""
    added, removed = (epsilon_from_below(kinds, delta, direction) for direction in ("add", "remove"))
    assert added <= removed
    spent = {accountant: epsilon(events(kinds), delta, accountant) for accountant in ALL}
    assert min(spent.values()) >= removed
    assert spent["pld"] <= 1.01 * removed + 0.02, "or the bound from below says nothing"


def test_opacus_gdp_accountant_under_reports_which_is_why_it_is_refused():
    kinds, delta = [(0.8, 0.05, 5)], 1e-5
    with pytest.warns(UserWarning, match="underestimate"):
        gaussian = GaussianAccountant()
        gaussian.history = list(kinds)
        assert gaussian.get_epsilon(delta) < 0.8 * epsilon_from_below(kinds, delta, "remove")
    with pytest.raises(UserError, match=r"^the gdp accountant is refused: .* less than the true epsilon; use prv"):
        epsilon(events(kinds), delta, "gdp")


def test_an_unknown_accountant_is_named_with_the_known_ones():
    with pytest.raises(UserError, match="unknown accountant 'moments'; accountants are prv, rdp, pld"):
        epsilon([], 1e-4, "moments")


def test_comparison_shows_every_accountant_and_marks_the_tightest():
    comparison = compare(events(MIXED), 1e-5)
    found = {bound.accountant: bound.epsilon for bound in comparison.bounds}
    assert found == {accountant: epsilon(events(MIXED), 1e-5, accountant) for accountant in ALL}
    assert comparison.tightest.epsilon == min(found.values())


def test_an_accountant_that_fails_says_why_and_is_never_the_tightest():
    hopeless = [event(0.02, 0.5, 60)]
    prv, _, pld = (comparison := compare(hopeless, 1e-4)).bounds
    assert prv.epsilon is None
    assert prv.problem.startswith(
        "the prv accountant cannot bound 60 steps of noise 0.02 at rate 0.5 at delta 0.0001 ("
    )
    assert "\n" not in prv.problem
    assert comparison.tightest == pld
    with pytest.raises(CannotBound):
        epsilon(hopeless, 1e-4)


def test_without_dp_accounting_the_extra_is_named_and_the_others_go_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    comparison = compare([event(1.234, 0.5, 7)], 1e-4)
    assert 'pip install "cmrfed[pld]"' in comparison.bounds[2].problem
    assert comparison.tightest.accountant == "prv"
    with pytest.raises(UserError, match="not installed"):
        calibrate_noise(8.0, 1e-4, 0.5, 7, "pld")


def test_whose_noise_it_is_changes_the_event_and_not_epsilon():
    own = event(2.0, 0.5, 60)
    shared = own.model_copy(update={"noise": "distributed"})
    assert own != shared
    assert epsilon([own, shared], 1e-4) == epsilon([own, own], 1e-4)


def test_epsilon_goes_on_from_round_to_round_and_never_starts_again():
    rounds = [event(1.2, 0.5, 6) for _ in range(5)]
    spent = [epsilon(rounds[:count], 1e-4) for count in range(6)]
    assert spent[0] == 0
    assert all(before < after for before, after in pairwise(spent))
    assert spent[5] == pytest.approx(epsilon([event(1.2, 0.5, 30)], 1e-4))


def test_events_of_different_kinds_compose_to_more_than_either():
    first, second = [event(1.2, 0.5, 20)], [event(3.0, 1.0, 10)]
    both = epsilon(first + second, 1e-4)
    assert max(epsilon(first, 1e-4), epsilon(second, 1e-4)) < both
    assert both <= epsilon(first, 5e-5) + epsilon(second, 5e-5)


@pytest.mark.parametrize("accountant", ALL)
@pytest.mark.parametrize(
    ("target", "delta", "rate", "steps"), [(8.0, 1e-4, 0.5, 60), (1.0, 1e-5, 0.2, 30), (20.0, 1e-3, 1.0, 10)]
)
def test_calibrated_noise_reaches_the_target_from_below_and_no_more_than_needed(target, delta, rate, steps, accountant):
    sigma = calibrate_noise(target, delta, rate, steps, accountant)
    assert epsilon([event(sigma, rate, steps)], delta, accountant) <= target
    assert epsilon([event(0.99 * sigma, rate, steps)], delta, accountant) > target


@pytest.mark.parametrize(
    ("target", "delta", "rate", "steps"), [(8.0, 1e-4, 0.5, 60), (50.0, 1e-4, 0.5, 60), (50.0, 1e-4, 0.001, 60)]
)
def test_calibrated_noise_is_dp_accountings_after_few_trials(target, delta, rate, steps):
    """Also where noise is so small and sampling so rare that a grid by high orders alone was beyond the accountant."""
    trials = []
    sigma = calibrate_noise(target, delta, rate, steps, report=lambda *trial: trials.append(trial))
    assert len(trials) <= 8
    assert trials[-1][1] <= target

    def theirs(noise):
        sampled = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
        accountant = PLDAccountant(value_discretization_interval=1e-3)
        return accountant.compose(sampled, steps).get_epsilon(delta)

    assert theirs(1.003 * sigma) <= target < theirs(0.997 * sigma), "theirs is within 0.3 % of ours"


def test_a_target_beyond_the_accountant_is_one_line_at_once_and_not_a_search():
    trials = []
    with pytest.raises(CannotBound, match=r"^privacy.target_epsilon: 1e\+06 is more than can be calibrated to, .*prv"):
        calibrate_noise(1e6, 1e-4, 0.5, 60, report=lambda *trial: trials.append(trial))
    assert trials == []


def test_a_grid_is_no_wider_by_orders_below_2_where_those_above_decide():
    """Ledgers' figures stay what they were."""
    history = ((2.2334, 0.5, 60),)
    found, best = _renyi_epsilon(history, 1e-8, _FEW_ORDERS)
    assert best > 2
    assert _rough_epsilon(history, 1e-8) == found
    rare = ((0.17, 0.001, 60),)
    assert _rough_epsilon(rare, 1e-8) < _renyi_epsilon(rare, 1e-8, _FEW_ORDERS)[0] / 10


def test_a_target_that_no_noise_reaches_is_refused_with_the_key():
    with pytest.raises(
        UserError, match=r"^privacy.target_epsilon: no noise multiplier up to 1000 reaches 0.001; "
    ) as error:
        calibrate_noise(0.001, 1e-5, 0.5, 50)
    assert "\n" not in str(error.value)


def test_the_plan_pays_for_the_whole_federation_before_anything_runs():
    federation, training = FederationConfig(rounds=7), TrainingConfig(local_steps=3)
    plan = LocalNoise.calibrated(PrivacyConfig(target_epsilon=8), federation, training)
    assert plan.steps == 21
    whole = epsilon([plan.event(3) for _ in range(7)], plan.delta)
    assert 0.98 * 8 < whole <= 8


def test_a_given_noise_multiplier_is_taken_and_its_epsilon_stated():
    federation, training = FederationConfig(rounds=2), TrainingConfig(local_steps=5)
    plan = LocalNoise.calibrated(PrivacyConfig(noise_multiplier=3.0, sample_rate=0.5), federation, training)
    assert plan.noise_multiplier == 3.0
    assert plan.target_epsilon == epsilon([event(3.0, 0.5, 10)], 1e-4)


def test_delta_that_would_publish_a_patient_is_refused():
    with pytest.raises(ValueError, match="published outright"):
        PrivacyConfig(delta=0.1, declared_patients=24)


@pytest.mark.parametrize("false_positive_rate", [0.1, 0.01, 0.001])
def test_no_attack_on_a_gaussian_release_beats_the_bound_on_attackers(false_positive_rate):
    """The best one has TPR = Phi(Phi^-1(FPR) + mu); bounds at many deltas together come near it."""
    mu = 1.5
    best = norm.cdf(norm.ppf(false_positive_rate) + mu)
    bounds = [
        attacker_true_positive_rate(exact_gaussian_epsilon(mu, delta), delta, false_positive_rate)
        for delta in np.geomspace(1e-6, 0.5, 60)
    ]
    assert best <= min(bounds) <= 1.05 * best


@given(st.floats(0, 50), st.floats(0, 0.1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_bound_on_attackers_lies_between_a_blind_guess_and_certainty(spent, delta, rate):
    allowed = attacker_true_positive_rate(spent, delta, rate)
    assert min(rate + delta, 1.0) <= allowed + 1e-12
    assert allowed <= 1
    assert allowed == pytest.approx(
        min(1.0, math.exp(spent) * rate + delta, 1 - math.exp(-spent) * (1 - delta - rate)), abs=1e-12
    )


def test_without_any_privacy_loss_an_attacker_can_only_guess_blindly():
    assert attacker_true_positive_rate(0.0, 0.0, 0.01) == pytest.approx(0.01)
    assert attacker_true_positive_rate(1000.0, 0.0, 0.01) == 1.0


@pytest.mark.parametrize("rate", [0.01, 0.001])
def test_all_guarantees_together_bind_an_attacker_nearly_as_the_exact_trade_off_does(rate):
    """Of one unsampled Gaussian release the best attack is known: TPR = Phi(Phi^-1(FPR) + 1 / sigma)."""
    exact = norm.cdf(norm.ppf(rate) + 1 / 0.8)
    bound = strongest_attack([event(0.8, 1.0, 1)], 1e-4, rate)
    alone = attacker_true_positive_rate(epsilon([event(0.8, 1.0, 1)], 1e-4), 1e-4, rate)
    assert exact <= bound <= min(alone, 2.5 * exact)
    assert bound < 0.75 * alone
