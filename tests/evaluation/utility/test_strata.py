"""Means over patients, whole and by stratum: which patients and stacks each counts."""

import numpy as np
import pytest
from toy_stacks import blocks, record, slices_of

from cmrfed.evaluation.utility.metrics import COLUMNS, METRICS, stack_scores, summarise
from cmrfed.statistics import bootstrap_mean_interval

PATIENTS = [
    record(0, "GE", "HCM"),
    record(1, "GE", "NOR"),
    record(2, "Philips", "HCM"),
    record(3, "Philips", "HCM", "other"),
]


@pytest.fixture
def scores():
    """End diastole is perfect; at end systole patient n lacks n columns of the LV's four."""
    test = slices_of([(owner, phase, blocks(1)) for owner in PATIENTS for phase in ("ED", "ES")])
    predicted = test.masks.copy()
    for row in np.flatnonzero(test.conditions["phase"] == 1):
        lost = test.patients[row]
        predicted[row, 2:6, 2 : 2 + PATIENTS.index(test.records[lost])] = 0
    return stack_scores(predicted, test)


def lv_dice(lost):
    return 2 * (4 - lost) / (8 - lost)


def test_the_whole_is_the_mean_over_patients_with_its_bootstrap_interval(scores):
    found = summarise(scores, replicates=200, seed=3)
    patients = np.array([(1 + lv_dice(PATIENTS.index(owner))) / 2 for owner in scores.patients])
    assert found["patients"] == 4
    assert found["dice"]["lv"] == pytest.approx(patients.mean())
    assert found["dice_ci95"]["lv"] == pytest.approx(bootstrap_mean_interval(patients, 200, 3))
    assert found["dice"]["myo"] == 1.0


@pytest.mark.parametrize(
    ("stratum", "value", "members"),
    [
        ("vendor", "GE", [0, 1]),
        ("vendor", "Philips", [2, 3]),
        ("pathology", "HCM", [0, 2, 3]),
        ("dataset", "other", [3]),
    ],
)
def test_a_stratum_counts_its_own_patients(scores, stratum, value, members):
    found = summarise(scores, replicates=100)[f"by_{stratum}"][value]
    assert found["patients"] == len(members)
    assert found["dice"]["lv"] == pytest.approx(np.mean([(1 + lv_dice(n)) / 2 for n in members]))


def test_a_phase_counts_its_own_stacks_of_every_patient(scores):
    found = summarise(scores, replicates=100)["by_phase"]
    assert {phase: of["patients"] for phase, of in found.items()} == {"ED": 4, "ES": 4}
    assert found["ED"]["dice"]["lv"] == 1.0
    assert found["ES"]["dice"]["lv"] == pytest.approx(np.mean([lv_dice(n) for n in range(4)]))


def test_crossed_cells_are_those_that_somebody_is_in_and_their_patients_add_up(scores):
    cells = summarise(scores, replicates=100)["crossed"]
    assert {(of["vendor"], of["phase"], of["pathology"]): of["patients"] for of in cells} == {
        ("GE", "ED", "HCM"): 1,
        ("GE", "ED", "NOR"): 1,
        ("GE", "ES", "HCM"): 1,
        ("GE", "ES", "NOR"): 1,
        ("Philips", "ED", "HCM"): 2,
        ("Philips", "ES", "HCM"): 2,
    }
    both = next(of for of in cells if (of["vendor"], of["phase"]) == ("Philips", "ES"))
    assert both["dice"]["lv"] == pytest.approx((lv_dice(2) + lv_dice(3)) / 2)


def test_a_single_patient_has_no_interval(scores):
    found = summarise(scores, replicates=100)["by_dataset"]["other"]
    assert set(found["dice_ci95"].values()) == {None}


def test_the_report_has_exactly_the_agreed_form(scores):
    found = summarise(scores, replicates=100)
    scored = {*METRICS, *(f"{metric}_ci95" for metric in METRICS)}
    assert found.keys() == {"patients", *scored, "by_vendor", "by_dataset", "by_pathology", "by_phase", "crossed"}
    assert all(list(found[key]) == list(COLUMNS) for key in scored)
    assert found["by_vendor"]["GE"].keys() == {"patients", *scored}


def test_intervals_repeat_with_the_seed_and_hold_the_mean(scores):
    first, again, other = (summarise(scores, 200, seed)["dice_ci95"]["lv"] for seed in (1, 1, 2))
    assert first == again != other
    assert first[0] < summarise(scores)["dice"]["lv"] < first[1]
