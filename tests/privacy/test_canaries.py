"""An audit's bound is the paper's, is almost never above the truth, and comes near it."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom

from cmrfed.config import UserError
from cmrfed.privacy.canaries import audit_canaries, epsilon_lower_bound, guess, p_value


@st.composite
def outcomes(draw):
    """(canaries, guesses, correct, delta)."""
    canaries = draw(st.integers(1, 400))
    guesses = draw(st.integers(1, canaries))
    return canaries, guesses, draw(st.integers(0, guesses)), draw(st.sampled_from([0.0, 1e-6, 1e-4, 1e-2]))


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "bound"),
    [
        (100, 100, 90, 0.0, 1.6308),
        (100, 100, 90, 1e-5, 1.6304),
        (1000, 200, 170, 1e-5, 1.3975),
        (1000, 100, 95, 1e-5, 2.1652),
    ],
)
def test_the_bound_is_that_of_the_papers_code(canaries, guesses, correct, delta, bound):
    assert epsilon_lower_bound(canaries, guesses, correct, delta) == pytest.approx(bound, abs=5e-5)


@given(outcomes(), st.floats(0, 8))
@settings(max_examples=60, deadline=None)
def test_the_p_value_is_that_of_a_loop_over_the_papers_formula(outcome, epsilon):
    canaries, guesses, correct, delta = outcome
    right = binom(guesses, 1 / (1 + np.exp(-epsilon)))
    beta = sum(right.pmf(count) for count in range(correct, guesses + 1))
    alpha = max((sum(right.pmf(range(correct - i, correct))) / i for i in range(1, correct + 1)), default=0.0)
    expected = min(1.0, beta + 2 * canaries * alpha * delta)
    assert p_value(canaries, guesses, correct, epsilon, delta) == pytest.approx(expected, abs=1e-9)


@given(outcomes(), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=40, deadline=None)
def test_the_bound_is_the_largest_epsilon_that_is_refuted(outcome, confidence):
    canaries, guesses, correct, delta = outcome
    bound = epsilon_lower_bound(canaries, guesses, correct, delta, confidence)
    assert p_value(canaries, guesses, correct, bound + 1e-3, delta) > 1 - confidence
    if bound:
        refuted = [p_value(canaries, guesses, correct, eps, delta) for eps in np.linspace(0, bound, 20)]
        assert max(refuted) <= 1 - confidence


@given(outcomes())
@settings(max_examples=60, deadline=None)
def test_more_right_guesses_never_lower_the_bound_and_more_delta_or_confidence_never_raise_it(outcome):
    canaries, guesses, correct, delta = outcome
    bound = epsilon_lower_bound(canaries, guesses, correct, delta)
    assert epsilon_lower_bound(canaries, guesses, min(correct + 1, guesses), delta) >= bound - 2e-6
    assert epsilon_lower_bound(canaries, guesses, correct, 3 * delta) <= bound + 2e-6
    assert epsilon_lower_bound(canaries, guesses, correct, delta, 0.99) <= bound + 2e-6


@pytest.mark.parametrize(("epsilon", "guesses"), [(0.5, 60), (2.0, 60), (2.0, 20)])
def test_randomized_response_is_found_less_private_than_it_is_at_most_one_time_in_twenty(epsilon, guesses):
    random = np.random.default_rng(0)
    bound = cache(lambda correct: epsilon_lower_bound(60, guesses, correct, 0.0))
    too_high = 0
    for _ in range(400):
        inserted = random.random(60) < 0.5
        told = np.where(random.random(60) < expit(epsilon), inserted, ~inserted)
        guessed = guess(told + 0.5 * random.random(60), guesses)
        too_high += bound(int(np.sum(guessed == np.where(inserted, 1, -1)))) > epsilon
    assert too_high / 400 <= 0.05 + 0.022, "two standard errors above one in twenty"


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 4.0])
def test_with_many_canaries_the_bound_comes_near_the_truth_from_below(epsilon):
    random = np.random.default_rng(1)
    inserted = random.random(50_000) < 0.5
    told = np.where(random.random(50_000) < expit(epsilon), inserted, ~inserted)
    found = audit_canaries(told + 0.5 * random.random(50_000), inserted, 50_000, 1e-9)
    assert 0.9 * epsilon < found.epsilon_lower <= epsilon
    assert (found.canaries, found.guesses, found.confidence, found.delta) == (50_000, 50_000, 0.95, 1e-9)


def test_what_is_no_better_than_chance_refutes_nothing():
    assert epsilon_lower_bound(100, 100, 50, 1e-5) == 0
    assert epsilon_lower_bound(100, 0, 0, 1e-5) == 0


def test_so_much_delta_that_all_could_be_told_refutes_nothing():
    assert epsilon_lower_bound(1000, 100, 100, 0.1) == 0


def test_the_most_and_least_suspicious_are_guessed_and_the_others_passed_over():
    guessed = guess(np.array([0.9, -3.0, 0.2, 5.0, 0.1, 0.3]), 4)
    assert guessed.tolist() == [1, -1, 0, 1, -1, 0]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=50), st.integers(0, 25))
def test_half_of_the_guesses_say_in_and_half_say_out_even_where_scores_are_equal(scores, half):
    half = min(half, len(scores) // 2)
    guessed = guess(np.array(scores), 2 * half)
    assert (np.sum(guessed == 1), np.sum(guessed == -1)) == (half, half)


@pytest.mark.parametrize(
    ("scores", "guesses", "said"),
    [([1.0, 2.0], 1, "found 1"), ([1.0, 2.0], 4, "at most the number of canaries, 2"), ([1.0, np.nan], 2, "NaN")],
)
def test_a_number_of_guesses_or_scores_that_make_no_sense_are_refused(scores, guesses, said):
    with pytest.raises(UserError, match=said):
        guess(np.array(scores), guesses)


def test_more_right_guesses_than_guesses_are_refused():
    with pytest.raises(ValueError, match="correct <= guesses <= canaries"):
        epsilon_lower_bound(10, 5, 6, 0.0)
