"""Dice and HD95 on stacks small enough to check by hand, and how they are pooled."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmrfed.shapes import STRUCTURES, Label
from cmrfed.utility import METRICS, TestStacks, patient_scores, summarise

LV, MYO, RV = (int(label) for label in (Label.LV, Label.MYO, Label.RV))


def stacks_of(masks, patients, stacks, vendors, spacing_mm=(10.0, 2.0, 1.0)):
    spacing = torch.tensor([spacing_mm] * (max(stacks) + 1))
    images = torch.zeros(len(masks), 1, *masks.shape[1:])
    return TestStacks(images, masks, torch.tensor(patients), torch.tensor(stacks), vendors, spacing)


def one_stack(masks, spacing_mm=(10.0, 2.0, 1.0)):
    return stacks_of(masks, [0] * len(masks), [0] * len(masks), ["Siemens"], spacing_mm)


def heart(slices=3):
    """All three structures in every slice, as blocks of known size."""
    masks = torch.zeros(slices, 16, 16, dtype=torch.int64)
    masks[:, 2:6, 2:6], masks[:, 2:6, 8:12], masks[:, 9:13, 2:6] = LV, MYO, RV
    return masks


def test_a_perfect_prediction_has_dice_1_and_distance_0():
    scores = summarise(patient_scores(heart(), one_stack(heart())), replicates=100)
    assert scores["dice"] == {"lv": 1.0, "myo": 1.0, "rv": 1.0, "mean": 1.0}
    assert scores["hd95_mm"] == {"lv": 0.0, "myo": 0.0, "rv": 0.0, "mean": 0.0}


def test_dice_is_over_the_voxels_of_the_whole_stack_not_the_mean_of_its_slices():
    predicted = heart()
    predicted[0][predicted[0] == LV] = 0
    found = summarise(patient_scores(predicted, one_stack(heart())), replicates=100)["dice"]
    assert found["lv"] == pytest.approx(2 * 32 / (32 + 48))
    assert found["mean"] == pytest.approx((0.8 + 1 + 1) / 3)


@pytest.mark.parametrize(("axis", "millimetres"), [(1, 2.0), (2, 1.0)])
def test_distance_is_in_millimetres_along_each_axis(axis, millimetres):
    """A whole heart shifted by three pixels: the nearest surface is three pixels' spacing away at the far edge."""
    shifted = torch.roll(heart(), 3, dims=axis)
    found = summarise(patient_scores(shifted, one_stack(heart())), replicates=100)["hd95_mm"]
    assert found["lv"] == pytest.approx(3 * millimetres)


def test_a_missed_slice_costs_the_distance_between_slices():
    predicted = heart(4)
    predicted[3] = 0
    found = summarise(patient_scores(predicted, one_stack(heart(4))), replicates=100)["hd95_mm"]
    assert found["mean"] == pytest.approx(10.0)


def test_two_points_are_their_distance_apart():
    reference, predicted = torch.zeros(2, 3, 16, 16, dtype=torch.int64)
    reference[0, 3, 4] = predicted[2, 6, 12] = LV
    found = METRICS["hd95_mm"](predicted == LV, reference == LV, torch.tensor([10.0, 2.0, 1.0]))
    assert found == pytest.approx(math.hypot(20, 6, 8))


def test_a_structure_in_neither_is_a_match_and_in_only_one_the_worst_error():
    without = heart()
    without[without == RV] = 0
    diagonal = math.hypot(3 * 10, 16 * 2, 16 * 1)
    for predicted, reference, dice, distance in [
        (without, without, 1.0, 0.0),
        (heart(), without, 0.0, diagonal),
        (without, heart(), 0.0, diagonal),
    ]:
        found = summarise(patient_scores(predicted, one_stack(reference)), replicates=100)
        assert found["dice"]["rv"] == dice
        assert found["hd95_mm"]["rv"] == pytest.approx(distance)


def test_a_patients_stacks_are_averaged_before_patients_are():
    """Patient 0 has a perfect and a wholly wrong stack, patient 1 one perfect: means 0.5 and 1, not 2 in 3."""
    reference = torch.cat([heart(2), heart(2), heart(2)])
    predicted = reference.clone()
    predicted[2:4] = 0
    test = stacks_of(reference, [0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2], ["GE", "Philips"])
    found = summarise(patient_scores(predicted, test), replicates=100)
    assert found["dice"]["mean"] == pytest.approx(0.75)
    assert found["patients"] == 2
    assert found["by_vendor"]["GE"]["dice"]["lv"] == pytest.approx(0.5)
    assert found["by_vendor"]["Philips"]["dice"]["lv"] == 1.0
    assert {vendor: part["patients"] for vendor, part in found["by_vendor"].items()} == {"GE": 1, "Philips": 1}


def test_slices_may_come_in_any_order_of_stacks_and_patients_with_gaps_in_their_numbers():
    reference = torch.cat([heart(2), heart(2)])
    predicted = reference.clone()
    predicted[0] = predicted[2] = 0  # both of patient 3
    test = stacks_of(reference, [3, 1, 3, 1], [0, 1, 0, 1], ["a", "b", "c", "d"])
    scores = patient_scores(predicted, test)
    assert scores.vendors == ("b", "d")
    assert scores.values["dice"][:, -1].tolist() == [1.0, 0.0]


def test_the_report_has_exactly_the_agreed_form():
    found = summarise(patient_scores(heart(), one_stack(heart())), replicates=100)
    columns = ["lv", "myo", "rv", "mean"]
    assert list(found) == ["dice", "hd95_mm", "dice_ci95", "by_vendor", "patients"]
    assert all(list(found[key]) == columns for key in ("dice", "hd95_mm", "dice_ci95"))
    assert list(found["by_vendor"]["Siemens"]) == ["dice", "hd95_mm", "patients"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), labels=st.sampled_from([(0,), (0, 1), (0, 1, 2, 3)]))
def test_scores_of_any_masks_are_finite_in_range_and_symmetric(seed, labels):
    generator = torch.Generator().manual_seed(seed)
    table = torch.tensor(labels)
    first, second = table[torch.randint(len(labels), (2, 3, 16, 16), generator=generator)]
    spacing = torch.tensor([8.0, 1.5, 1.5])
    diagonal = float((torch.tensor([3, 16, 16]) * spacing).norm())
    for structure in STRUCTURES:
        for name, metric in METRICS.items():
            there = metric(first == structure, second == structure, spacing)
            assert there == pytest.approx(metric(second == structure, first == structure, spacing))
            assert 0 <= there <= (1 if name == "dice" else diagonal)


def test_the_interval_holds_the_mean_and_repeats_with_the_seed():
    reference = heart(10)
    predicted = reference.clone()
    for index in range(10):
        predicted[index, 2:6, 2 : 2 + index % 5] = 0
    test = stacks_of(reference, list(range(10)), list(range(10)), ["GE"] * 10)
    scores = patient_scores(predicted, test)
    low, high = summarise(scores, seed=3)["dice_ci95"]["lv"]
    assert low < summarise(scores)["dice"]["lv"] < high
    assert summarise(scores, seed=3)["dice_ci95"]["lv"] == [low, high]


def test_a_prediction_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        patient_scores(heart(2), one_stack(heart(3)))
