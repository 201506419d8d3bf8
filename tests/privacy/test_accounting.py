"""Epsilon agrees with closed forms and published figures, composes, and calibration never overshoots."""

from itertools import pairwise

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from cmrfed.config import FederationConfig, PrivacyConfig, TrainingConfig, UserError
from cmrfed.privacy import GaussianEvent, PrivacyPlan, calibrate_noise, epsilon


def event(sigma, rate, steps):
    return GaussianEvent(noise_multiplier=sigma, sample_rate=rate, steps=steps)


def exact_gaussian_epsilon(sigma, steps, delta):
    """Balle and Wang 2018, arXiv:1805.06530, theorem 8: `steps` Gaussian releases are one of sigma / sqrt(steps)."""
    one = sigma / steps**0.5

    def excess(eps):
        return (
            norm.cdf(1 / (2 * one) - eps * one)
            - pow(2.718281828459045, eps) * norm.cdf(-1 / (2 * one) - eps * one)
            - delta
        )

    return brentq(excess, 1e-6, 200)


@pytest.mark.parametrize(("sigma", "steps", "delta"), [(4.0, 100, 1e-3), (5.0, 60, 1e-4), (1.5, 3, 1e-5)])
def test_without_sampling_epsilon_is_the_closed_form(sigma, steps, delta):
    exact = exact_gaussian_epsilon(sigma, steps, delta)
    assert exact <= epsilon([event(sigma, 1.0, steps)], delta) <= 1.01 * exact
    assert epsilon([event(sigma, 1.0, steps)], delta, "rdp") >= exact


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "pld", "rdp"),
    [(1, 0.1, 200, 7.10, 8.18), (2, 0.5, 100, 10.89, 12.14), (4, 1, 100, 10.21, 11.27)],
)
def test_with_sampling_epsilon_agrees_with_dp_accountings_loss_distributions(sigma, rate, steps, pld, rdp):
    """Figures of google/differential-privacy's dp-accounting (PLD) and of Opacus' RDP at delta 1e-3."""
    assert epsilon([event(sigma, rate, steps)], 1e-3) == pytest.approx(pld, rel=0.01)
    assert epsilon([event(sigma, rate, steps)], 1e-3, "rdp") == pytest.approx(rdp, rel=0.01)


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


@pytest.mark.parametrize(
    ("target", "delta", "rate", "steps"), [(8.0, 1e-4, 0.5, 60), (1.0, 1e-5, 0.2, 30), (20.0, 1e-3, 1.0, 10)]
)
def test_calibrated_noise_reaches_the_target_from_below_and_no_more_than_needed(target, delta, rate, steps):
    sigma = calibrate_noise(target, delta, rate, steps)
    assert epsilon([event(sigma, rate, steps)], delta) <= target
    assert epsilon([event(0.99 * sigma, rate, steps)], delta) > target


def test_a_target_that_no_noise_reaches_is_refused_with_the_key():
    with pytest.raises(
        UserError, match=r"^privacy.target_epsilon: no noise multiplier up to 1000 reaches 0.001; "
    ) as error:
        calibrate_noise(0.001, 1e-5, 0.5, 50)
    assert "\n" not in str(error.value)


def test_the_plan_pays_for_the_whole_federation_before_anything_runs():
    federation, training = FederationConfig(rounds=7), TrainingConfig(local_steps=3)
    plan = PrivacyPlan.calibrated(PrivacyConfig(target_epsilon=8), federation, training)
    assert plan.steps == 21
    whole = epsilon([plan.event(3) for _ in range(7)], plan.delta)
    assert 0.98 * 8 < whole <= 8


def test_a_given_noise_multiplier_is_taken_and_its_epsilon_stated():
    federation, training = FederationConfig(rounds=2), TrainingConfig(local_steps=5)
    plan = PrivacyPlan.calibrated(PrivacyConfig(noise_multiplier=3.0), federation, training)
    assert plan.noise_multiplier == 3.0
    assert plan.target_epsilon == epsilon([event(3.0, 0.5, 10)], 1e-4)


def test_delta_that_would_publish_a_patient_is_refused():
    with pytest.raises(ValueError, match="published outright"):
        PrivacyConfig(delta=0.1, declared_patients=24)
