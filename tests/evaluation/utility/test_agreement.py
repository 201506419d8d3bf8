"""Bland and Altman's limits: their formulas, and that they hold what they promise."""

import math

import numpy as np
import pytest

from cmrfed.evaluation.utility.metrics import bland_altman


def test_bias_and_limits_are_bland_and_altmans_by_hand():
    """Differences 1, 2, 3, 6: mean 3, SD sqrt(14/3); t(0.975, 3) = 3.18245."""
    reference = np.array([100.0, 120.0, 90.0, 150.0])
    found = bland_altman(reference + np.array([1.0, 2.0, 3.0, 6.0]), reference)
    sd = math.sqrt(14 / 3)
    of_bias = 3.182446 * sd / 2
    of_limit = 3.182446 * sd * math.sqrt(1 / 4 + 1.96**2 / (2 * 3))
    assert found["bias"]["value"] == pytest.approx(3.0)
    assert found["sd"] == pytest.approx(sd)
    assert found["bias"]["ci95"] == pytest.approx([3 - of_bias, 3 + of_bias], rel=1e-5)
    assert found["upper_limit"]["value"] == pytest.approx(3 + 1.96 * sd)
    assert found["lower_limit"]["value"] == pytest.approx(3 - 1.96 * sd)
    assert found["lower_limit"]["ci95"] == pytest.approx([3 - 1.96 * sd - of_limit, 3 - 1.96 * sd + of_limit], rel=1e-5)
    assert found["mean_absolute_error"] == pytest.approx(3.0)
    assert found["patients"] == 4


def test_intervals_hold_the_true_bias_and_limits_as_often_as_they_say():
    """400 studies of 30 patients whose errors are normal with bias 2 and SD 5."""
    random, held = np.random.default_rng(0), {"bias": 0, "lower_limit": 0, "upper_limit": 0}
    truth = {"bias": 2.0, "lower_limit": 2 - 1.96 * 5, "upper_limit": 2 + 1.96 * 5}
    for _ in range(400):
        found = bland_altman(random.normal(2, 5, 30), np.zeros(30))
        for name, value in truth.items():
            held[name] += found[name]["ci95"][0] <= value <= found[name]["ci95"][1]
    assert all(0.91 <= count / 400 <= 0.985 for count in held.values()), held


def test_undefined_measurements_are_counted_and_left_out():
    measured = np.array([1.0, 2.0, 4.0, np.nan])
    found = bland_altman(measured, np.zeros(4))
    assert (found["patients"], found["undefined"]) == (3, 1)
    assert found["bias"]["value"] == pytest.approx(7 / 3)


def test_two_patients_are_too_few_for_limits():
    found = bland_altman(np.array([1.0, 2.0]), np.zeros(2))
    assert found["bias"] is None
    assert found["patients"] == 2
