"""A stopping rule over runs that are chosen one after the other admits what its theorem covers, and no more."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from cmrfed.privacy import GaussianEvent, epsilon, filter, renyi_order

DELTA = 1e-4


def event(noise_multiplier=2.0, steps=10, sample_rate=0.5, noise="local"):
    return GaussianEvent(sample_rate=sample_rate, noise_multiplier=noise_multiplier, steps=steps, noise=noise)


EVENTS = st.builds(event, st.floats(0.5, 20.0), st.integers(1, 100), st.floats(0.05, 1.0))


@settings(max_examples=25, deadline=None)
@given(st.lists(EVENTS, min_size=2, max_size=4, unique_by=lambda one: one.noise_multiplier), st.floats(0.5, 12.0))
def test_several_kinds_cost_the_sum_of_divergences_at_one_order_by_numerical_integration(events, limit):
    order = renyi_order(limit, DELTA)
    divergence = sum(one.steps * divergence_by_quadrature(one, order) for one in events)
    conversion = math.log((order - 1) / order) - (math.log(DELTA) + math.log(order)) / (order - 1)
    assert filter.spent(events, DELTA, order) == pytest.approx(max(0.0, divergence + conversion), rel=1e-5, abs=1e-8)


def divergence_by_quadrature(one, order):
    """log E_{z ~ N(0, s^2)} [((1 - q) + q exp((2 z - 1) / (2 s^2)))^a] / (a - 1), for the patient's removal."""
    q, s = one.sample_rate, one.noise_multiplier
    z = np.linspace(-14 * s, order + 14 * s, 400_001)
    ratio = np.logaddexp(math.log1p(-q) if q < 1 else -math.inf, math.log(q) + (2 * z - 1) / (2 * s * s))
    log_density = -0.5 * (z / s) ** 2 - math.log(s * math.sqrt(2 * math.pi))
    return (logsumexp(log_density + order * ratio) + math.log(z[1] - z[0])) / (order - 1)


def test_one_kind_in_however_many_pieces_costs_what_the_tightest_accountant_says():
    pieces = [event(steps=20), event(steps=30, noise="distributed"), event(steps=10)]
    whole = [event(steps=60)]
    assert filter.spent(pieces, DELTA, 3.0) == min(epsilon(whole, DELTA, name) for name in ("prv", "rdp"))


def test_where_one_accountant_fails_another_decides():
    """PRV refuses so little noise; Renyi DP bounds it."""
    whole = [event(noise_multiplier=0.1, steps=18)]
    assert filter.spent(whole, DELTA, 3.0) == epsilon(whole, DELTA, "rdp")


@settings(max_examples=50, deadline=None)
@given(st.lists(EVENTS, max_size=3), EVENTS, st.sampled_from([1.5, 3.3, 9.0]))
def test_one_event_more_never_costs_less(events, more, order):
    assert filter.spent([*events, more], DELTA, order) >= filter.spent(events, DELTA, order) - 1e-9


def test_nothing_costs_nothing():
    assert filter.spent([], DELTA, 3.0) == 0.0


@pytest.mark.parametrize("limit", [0.5, 1.0, 3.0, 8.0])
def test_the_order_admits_nearly_as_much_of_a_sampled_gaussian_as_the_best_order_would(limit):
    """The order is fixed without knowing the events; what that loses is small."""
    one, order = event(noise_multiplier=3.0, steps=1), renyi_order(limit, DELTA)
    admitted = {
        name: max((n for n in range(3000) if _renyi(one, n, name) <= limit), default=0)
        for name in (order, *(1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0))
    }
    assert admitted[order] >= 0.9 * max(admitted.values())


def _renyi(one, steps, order):
    return steps * filter._divergence(one.noise_multiplier, one.sample_rate, order) + filter._conversion(order, DELTA)


def test_the_order_is_a_function_of_the_limits_alone_and_exists_without_any():
    assert renyi_order(8.0, 1e-4) == 3.3
    assert renyi_order(math.inf, 1e-4) == renyi_order(10.0, 1e-4)
