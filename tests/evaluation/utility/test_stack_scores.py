"""Scores of structures in stacks, and how a patient's stacks and repeated trainings are pooled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_stacks import LV, RV, blocks, one_stack, record, slices_of

from cmrfed.evaluation.utility.metrics import COLUMNS, METRICS, stack_scores
from cmrfed.evaluation.utility.metrics.scores import mean_scores
from cmrfed.shapes import FIRST_TISSUE


def columns(scores, metric):
    return dict(zip(COLUMNS, scores.by_patient(metric)[0], strict=True))


def test_a_perfect_prediction_has_dice_1_and_distance_0():
    scores = stack_scores(blocks(), one_stack(blocks()))
    assert columns(scores, "dice") == {"lv": 1.0, "myo": 1.0, "rv": 1.0, "mean": 1.0}
    for metric in ("hd95_mm", "assd_mm"):
        assert columns(scores, metric) == {"lv": 0.0, "myo": 0.0, "rv": 0.0, "mean": 0.0}


def test_dice_is_over_the_voxels_of_the_whole_stack_not_the_mean_of_its_slices():
    predicted = blocks()
    predicted[0][predicted[0] == LV] = 0
    found = columns(stack_scores(predicted, one_stack(blocks())), "dice")
    assert found["lv"] == pytest.approx(2 * 32 / (32 + 48))
    assert found["mean"] == pytest.approx((0.8 + 1 + 1) / 3)


def test_distances_use_the_stacks_own_spacing():
    predicted = np.roll(blocks(), 3, axis=1)
    wide = columns(stack_scores(predicted, one_stack(blocks(), (10.0, 4.0, 1.0))), "hd95_mm")
    narrow = columns(stack_scores(predicted, one_stack(blocks(), (10.0, 2.0, 1.0))), "hd95_mm")
    assert (wide["lv"], narrow["lv"]) == (pytest.approx(12.0), pytest.approx(6.0))


def test_a_structure_absent_from_reference_and_prediction_is_a_match():
    without = blocks()
    without[without == RV] = 0
    assert columns(stack_scores(without, one_stack(without)), "dice")["rv"] == 1.0
    assert columns(stack_scores(blocks(), one_stack(without)), "dice")["rv"] == 0.0


def test_classes_of_surrounding_tissue_are_background():
    reference = blocks()
    reference[reference == 0] = FIRST_TISSUE
    assert columns(stack_scores(blocks(), one_stack(reference)), "dice")["mean"] == 1.0


def test_a_patients_stacks_are_averaged_before_patients_are():
    """One patient has a perfect and a wholly wrong stack, the other one perfect: 0.5 and 1."""
    first, second = record(0), record(1)
    test = slices_of([(first, "ED", blocks(2)), (first, "ES", blocks(2)), (second, "ED", blocks(2))])
    predicted = test.masks.copy()
    predicted[2:4] = 0
    scores = stack_scores(predicted, test)
    assert scores.patients == (first, second)
    assert scores.by_patient("dice")[:, -1].tolist() == [0.5, 1.0]
    assert scores.phases == ("ED", "ES", "ED")


def test_slices_may_come_in_any_order_of_stacks_and_patients():
    first, second = record(0), record(1)
    test = slices_of([(first, "ED", blocks(2)), (second, "ED", blocks(2))]).take(np.array([2, 0, 3, 1]))
    predicted = test.masks.copy()
    predicted[[1, 3]] = 0  # both of the first patient
    scores = stack_scores(predicted, test)
    assert dict(zip(scores.patients, scores.by_patient("dice")[:, -1], strict=True)) == {first: 0.0, second: 1.0}


def test_repeated_trainings_are_averaged_within_a_stack():
    test = one_stack(blocks())
    repeats = [stack_scores(masks, test) for masks in (blocks(), np.zeros_like(blocks()))]
    assert mean_scores(repeats).values["dice"].tolist() == [[0.5] * 4]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), labels=st.sampled_from([(0,), (0, 1), (0, 1, 2, 3)]))
def test_scores_of_any_masks_are_finite_in_range_and_symmetric(seed, labels):
    random = np.random.default_rng(seed)
    first, second = random.choice(labels, (2, 3, 16, 16)).astype(np.uint8)
    there, back = stack_scores(first, one_stack(second)), stack_scores(second, one_stack(first))
    diagonal = np.hypot(np.hypot(3 * 10, 16 * 2), 16)
    for metric in METRICS:
        assert there.values[metric] == pytest.approx(back.values[metric])
        assert (there.values[metric] >= 0).all()
        assert (there.values[metric] <= (1 if metric == "dice" else diagonal)).all()


def test_a_prediction_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        stack_scores(blocks(2), one_stack(blocks(3)))
