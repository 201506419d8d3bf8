"""The drop across groups and the part of it that is removed: definitions, and how often intervals hold the truth."""

import numpy as np
import pytest

from cmrfed.evaluation.utility.metrics import GroupScores, group_drops


def scores(seen, unseen, helped):
    return GroupScores(*(np.asarray(values, float) for values in (seen, unseen, helped)))


def test_drop_and_removed_are_differences_of_means_over_the_same_patients():
    groups = {
        "GE": scores([0.9, 0.8], [0.5, 0.6], [0.7, 0.8]),
        "Philips": scores([0.9] * 4, [0.7] * 4, [0.7] * 4),
    }
    found = group_drops(groups, 200)
    one = found["groups"]["GE"]
    assert one["drop"]["value"] == pytest.approx(0.3)
    assert one["removed"]["value"] == pytest.approx(0.2)
    assert one["removed_share"]["value"] == pytest.approx(2 / 3)
    assert (one["patients"], found["groups"]["Philips"]["patients"]) == (2, 4)
    assert found["mean"]["drop"]["value"] == pytest.approx((0.3 + 0.2) / 2), "groups weigh alike, however many patients"
    assert found["mean"]["removed_share"]["value"] == pytest.approx(0.1 / 0.25)


def test_a_drop_that_is_not_shown_has_no_share():
    random = np.random.default_rng(0)
    seen = random.uniform(0.5, 0.9, 12)
    found = group_drops({"GE": scores(seen, seen + np.tile([0.01, -0.01], 6), seen)})["groups"]["GE"]
    assert found["drop"]["ci95"][0] <= 0 <= found["drop"]["ci95"][1]
    assert found["removed_share"] is None


def test_intervals_are_paired_so_that_hard_patients_do_not_widen_them():
    """Patients differ by 0.5, the networks on each of them by exactly 0.1."""
    hard = np.linspace(0.2, 0.7, 10)
    found = group_drops({"GE": scores(hard + 0.2, hard, hard + 0.1)})["groups"]["GE"]
    assert found["drop"]["ci95"] == pytest.approx([0.2, 0.2])
    assert found["removed_share"]["ci95"] == pytest.approx([0.5, 0.5])
    assert found["unseen"]["ci95"][1] - found["unseen"]["ci95"][0] > 0.1


def test_the_interval_holds_the_true_drop_as_often_as_it_says():
    random, held = np.random.default_rng(1), 0
    for trial in range(200):
        groups = {
            name: scores(base + random.normal(drop, 0.05, 25), base, base)
            for name, drop in (("GE", 0.1), ("Philips", 0.2))
            for base in [random.uniform(0.3, 0.7, 25)]
        }
        low, high = group_drops(groups, 200, trial)["mean"]["drop"]["ci95"]
        held += low <= 0.15 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_a_single_patient_has_no_interval_and_so_no_share():
    found = group_drops({"GE": scores([0.9], [0.5], [0.7])})
    assert found["groups"]["GE"]["drop"] == {"value": pytest.approx(0.4), "ci95": None}
    assert found["groups"]["GE"]["removed_share"] is found["mean"]["removed_share"] is None


def test_no_groups_are_refused():
    with pytest.raises(ValueError, match="at least one group"):
        group_drops({})
