"""A bound refutes no honest claim more often than its confidence says, and does refute a false one."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from cmrfed.evaluation.leakage.attacks.bound import epsilon_lower_bound, largest_epsilon_lower_bound


def test_the_bound_is_that_of_clopper_and_pearsons_rates():
    members, non_members = np.r_[np.ones(30), np.zeros(10)], np.r_[np.ones(2), np.zeros(38)]
    lowest = brentq(lambda rate: binom.sf(29, 40, rate) - 0.025, 1e-6, 1 - 1e-6)
    highest = brentq(lambda rate: binom.cdf(2, 40, rate) - 0.025, 1e-6, 1 - 1e-6)
    both = (members, non_members)
    assert epsilon_lower_bound(both, both) == pytest.approx(np.log(lowest / highest), abs=1e-6)
    assert epsilon_lower_bound(both, both, delta=0.1) == pytest.approx(np.log((lowest - 0.1) / highest), abs=1e-6)


def test_the_other_tail_counts_too():
    """Nobody is surely a member, but many are surely not."""
    members, non_members = np.ones(40), np.r_[np.ones(10), np.zeros(30)]
    assert epsilon_lower_bound((members, non_members), (members, non_members)) > 1.5


def test_an_attack_that_is_never_wrong_reaches_what_is_possible_and_none_exceeds_it():
    perfect = np.ones(20), np.zeros(12)
    assert epsilon_lower_bound(perfect, perfect) == pytest.approx(largest_epsilon_lower_bound(20, 12, 0.0))
    random = np.random.default_rng(0)
    for _ in range(20):
        test = random.normal(1, 1, 20), random.normal(0, 1, 12)
        assert epsilon_lower_bound(perfect, test) <= largest_epsilon_lower_bound(20, 12, 0.0) + 1e-12


def test_randomized_response_is_refuted_at_its_own_epsilon_in_less_than_five_of_a_hundred():
    """The mechanism whose rates reach e^epsilon exactly."""
    epsilon, random = 1.0, np.random.default_rng(0)
    truthful = np.exp(epsilon) / (1 + np.exp(epsilon))

    def said(count, member):
        return np.where(random.random(count) < truthful, member, 1 - member) + 0.0

    bounds = np.array([
        epsilon_lower_bound((said(50, 1), said(50, 0)), (said(50, 1), said(50, 0))) for _ in range(400)
    ])  # fmt: skip
    assert (bounds > epsilon).mean() < 0.05
    assert bounds.mean() > 0.2


def test_the_threshold_comes_from_calibration_alone():
    calibration = np.ones(30), np.zeros(30)
    shifted = np.full(30, 0.2), np.full(30, -0.2)  # apart, but not where calibration looked
    assert epsilon_lower_bound(calibration, shifted) == 0.0


def test_a_side_without_patients_is_refused():
    with pytest.raises(ValueError, match="both to calibrate and to test"):
        epsilon_lower_bound((np.zeros(1), np.zeros(0)), (np.zeros(1), np.zeros(1)))
