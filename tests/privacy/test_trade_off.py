"""A curve errs towards more leakage, hardly, and in both directions."""

import numpy as np
import pytest
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from cmrfed.privacy import GaussianEvent, epsilon
from cmrfed.privacy.accounting import discrete_losses
from cmrfed.privacy.trade_off import TradeOff, gaussian_delta, gaussian_epsilon, least_epsilon, trade_off


@given(mu=st.floats(0.05, 20), delta=st.sampled_from([1e-8, 1e-5, 1e-3]))
@settings(max_examples=60, deadline=None)
def test_the_gaussian_epsilon_is_where_delta_is_reached(mu, delta):
    found = gaussian_epsilon(mu, delta)
    assert gaussian_delta(mu, np.array([found]))[0] == pytest.approx(delta, rel=1e-5)
    assert gaussian_epsilon(0.1, 0.1) == 0, "delta alone suffices"
    assert gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.3771, abs=1e-4), "as Google's dp-accounting has it"


@given(mu=st.floats(0.05, 8), power=st.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_a_gaussian_curve_is_the_closed_form_and_never_below_it(mu, power):
    """Never fewer false positives, by more than rounding, than the best test has."""
    found, exact = TradeOff.gaussian(mu).false_positives(power), ndtr(ndtri(power) - mu)
    assert found <= exact + 1e-12
    assert found == pytest.approx(exact, rel=0.03, abs=1e-6)


@given(mu=st.floats(0.05, 6), threshold=st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_of_a_gaussian_the_surest_guesses_are_those_furthest_from_the_middle(mu, threshold):
    right, wrong = ndtr(mu / 2 - threshold), ndtr(-mu / 2 - threshold)
    exact = right / (right + wrong)
    found = TradeOff.gaussian(mu).accuracy(np.array([right + wrong]))[0]
    assert exact - 1e-9 <= found <= exact + 2e-3


@pytest.mark.parametrize(("rate", "sigma"), [(0.3, 0.8), (0.05, 2.0)])
def test_a_sampled_curve_lies_above_both_directions_by_the_stated_errors_at_most(rate, sigma):
    x = np.linspace(-12 * sigma, 12 * sigma + 1, 200_001)
    without = norm.pdf(x, 0, sigma)
    present = (1 - rate) * without + rate * norm.pdf(x, 1, sigma)
    event = GaussianEvent(sample_rate=rate, noise_multiplier=sigma, steps=1)
    curve, error = trade_off(event), discrete_losses(event).error
    for place in range(0, len(curve.epsilons), 20):
        for found, (one, other) in ((curve.removed, (present, without)), (curve.added, (without, present))):
            least, most = (
                np.trapezoid(np.maximum(one - np.exp(curve.epsilons[place] - slack) * other, 0), x)
                for slack in (0, 2 * error)
            )
            assert least - 1e-9 <= found[place] <= most + 1e-9


@pytest.mark.parametrize(("rate", "sigma", "steps"), [(0.5, 4.0, 60), (0.1, 1.0, 100)])
def test_many_sampled_steps_are_those_of_dp_accounting_in_both_directions(rate, sigma, steps):
    curve = trade_off(GaussianEvent(sample_rate=rate, noise_multiplier=sigma, steps=steps))
    loss = from_gaussian_mechanism(sigma, sampling_prob=rate, value_discretization_interval=1e-3).self_compose(steps)
    for found, theirs in ((curve.removed, loss._pmf_remove), (curve.added, loss._pmf_add)):
        exact = np.array([theirs.get_delta_for_epsilon(one) for one in curve.epsilons[:200:20]])
        np.testing.assert_allclose(found[:200:20], exact, rtol=0.02, atol=1e-8)


def test_a_sampled_curve_is_near_the_gaussian_where_nearly_everybody_is_sampled():
    event = GaussianEvent(sample_rate=0.9999, noise_multiplier=4.0, steps=16)
    found, exact = trade_off(event), TradeOff.gaussian(1.0)
    for power in (0.05, 0.5, 0.9):
        assert found.false_positives(power) == pytest.approx(exact.false_positives(power), rel=0.02)
    parts = np.array([0.1, 0.6, 1.0])
    np.testing.assert_allclose(found.accuracy(parts), exact.accuracy(parts), rtol=3e-3)


@pytest.mark.parametrize("rate", [0.2, 1.0])
def test_epsilon_from_below_is_below_the_accountants_and_near_it(rate):
    event = GaussianEvent(sample_rate=rate, noise_multiplier=2.0, steps=20)
    above = epsilon([event], 1e-5)
    assert above - 0.05 < least_epsilon(event, 1e-5) <= above


@given(mu=st.floats(0.1, 5), loss=st.floats(0, 10))
@settings(max_examples=40, deadline=None)
def test_the_gaussian_delta_is_the_integral_that_it_stands_for(mu, loss):
    x = np.linspace(-12, 12 + mu, 100_001)
    exact = np.trapezoid(np.maximum(norm.pdf(x, mu) - np.exp(loss) * norm.pdf(x), 0), x)
    assert gaussian_delta(mu, np.array([loss]))[0] == pytest.approx(exact, abs=1e-7)
