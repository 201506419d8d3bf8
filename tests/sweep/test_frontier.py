"""What a sweep's scores come to: intervals over patients and over noise, differences paired by patient."""

import numpy as np
import pytest

from cmrfed.sweep import Scores, frontier

PATIENTS = 40


def scores(arm, dice, epsilon=None, **more):
    names = [f"p{number:02}" for number in range(PATIENTS)]
    vendors = {name: "Siemens" if number % 2 else "Philips" for number, name in enumerate(names)}
    return Scores(
        arm=arm, epsilon=epsilon, spent=epsilon, dice=dict(zip(names, dice, strict=True)), vendors=vendors, **more
    )


@pytest.fixture
def base():
    return np.random.default_rng(0).uniform(0.6, 0.9, PATIENTS)


def points(*found):
    return {point.arm: point for point in frontier(found).points}


def test_a_small_gain_of_every_patient_is_told_though_patients_differ_much(base):
    found = points(
        scores("real", base + 0.1),
        scores("start", base),
        scores("local, epsilon 8", base + 0.01, 8.0),
    )["local, epsilon 8"]
    assert found.over_start.value == pytest.approx(0.01)
    assert found.better_than_start
    low, high = found.dice.ci95
    assert high - low > 0.03, "over patients alone it would be lost"
    assert found.of_real == pytest.approx((base.mean() + 0.01) / (base.mean() + 0.1))


def test_a_gain_that_differs_between_noises_as_much_is_none(base):
    runs = [scores("local, epsilon 1", base + gain, 1.0) for gain in (0.04, -0.03, 0.02)]
    found = points(scores("real", base + 0.1), scores("start", base), *runs)["local, epsilon 1"]
    assert found.runs == 3
    assert found.over_start.value == pytest.approx(0.01)
    assert not found.better_than_start
    assert found.spread == pytest.approx(np.std([0.04, -0.03, 0.02], ddof=1))


def test_the_interval_is_that_of_a_plain_nested_bootstrap(base):
    """Drawn here one replicate at a time, patients and then runs."""
    random = np.random.default_rng(5)
    table = base + 0.02 * random.standard_normal((4, 1)) + 0.01 * random.standard_normal((4, PATIENTS))
    runs = [scores("a", one, 1.0) for one in table]
    found = points(scores("real", base), scores("start", base), *runs)["a"].dice.ci95
    means = []
    for _ in range(4000):
        patients, drawn = random.integers(PATIENTS, size=PATIENTS), random.integers(4, size=4)
        means.append(np.mean([table[run, patients].mean() for run in drawn]))
    np.testing.assert_allclose(found, np.percentile(means, [2.5, 97.5]), atol=0.004)


def test_vendors_have_figures_of_their_own_and_the_largest_epsilon_spent_is_told(base):
    by_vendor = np.where(np.arange(PATIENTS) % 2, 0.9, 0.5)
    runs = [scores("a", by_vendor, 8.0), scores("a", by_vendor, 7.5)]
    found = points(scores("real", base), scores("start", base), *runs)["a"]
    assert {name: one.value for name, one in found.by_vendor.items()} == pytest.approx({"Siemens": 0.9, "Philips": 0.5})
    assert found.spent == 8.0


def test_scores_of_other_patients_are_no_part_of_it(base):
    fewer = scores("a", base).model_copy(update={"dice": {"p00": 0.5}})
    with pytest.raises(ValueError, match="different patients"):
        frontier([scores("real", base), fewer])
