"""The disease classifier: features by hand, scores against scikit-learn's, a planted disease found, none invented."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from toy_stacks import LV, MYO, RV, cohort, record, slices_of

from cmrfed.evaluation.utility.metrics import (
    disease_features,
    disease_forest,
    disease_probabilities,
    disease_scores,
    diseases_to_learn,
)
from cmrfed.evaluation.utility.metrics.disease_features import DiseaseFeatures, wall_thickness_mm
from cmrfed.slices import Slices


def ring(inner_mm, outer_mm, spacing_mm, size=96):
    row, column = np.mgrid[:size, :size]
    radius = np.hypot((row - size / 2) * spacing_mm[0], (column - size / 2) * spacing_mm[1])
    mask = np.zeros((size, size), np.uint8)
    mask[radius < outer_mm] = MYO
    mask[radius < inner_mm] = LV
    return mask


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (1.5, 0.8)])
@pytest.mark.parametrize("wall_mm", [6.0, 12.0])
def test_a_ring_is_as_thick_as_it_was_drawn(wall_mm, spacing_mm):
    found = wall_thickness_mm(ring(20.0, 20.0 + wall_mm, spacing_mm), np.array(spacing_mm))
    assert np.median(found) == pytest.approx(wall_mm, abs=max(spacing_mm))


def test_a_slice_without_a_cavity_has_no_thickness():
    assert wall_thickness_mm(np.full((8, 8), MYO, np.uint8), np.ones(2)).shape == (0,)


def features(slices, images=None):
    found = disease_features(slices, images or slices)
    return dict(zip(found.names, found.values[0], strict=True))


def test_features_are_the_hearts_volumes_ratios_and_brightness():
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[:, 2:6, 2:6], masks[:, 8:10, 2:4], masks[:, 2:6, 8:16] = LV, MYO, RV
    stacks = [(record(), "ED", masks), (record(), "ES", np.where(masks == RV, 0, masks).astype(np.uint8))]
    images = np.concatenate([of for _, _, of in stacks]) / 10.0
    found = features(slices_of(stacks, (10.0, 2.0, 1.0), images))
    assert found["lv_edv_ml"] == pytest.approx(32 * 20 / 1000)
    assert found["rv_to_lv_ed"] == pytest.approx(2.0)
    assert found["rv_to_lv_es"] == 0.0
    assert found["lv_mass_to_volume_g_per_ml"] == pytest.approx(1.05 * 8 / 32)
    assert found["lv_brightness_median_ed"] == pytest.approx(0.1)
    assert found["rv_brightness_median_ed"] == pytest.approx(0.3)
    assert math.isnan(found["rv_brightness_median_es"])


def test_features_are_those_of_each_visit_averaged():
    first, second = cohort([record()], seed=0), cohort([record()], seed=5, shrink=0.9)
    joined = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("images", "masks", "patients", "spacing_mm")
    }
    conditions = {name: np.concatenate([first.conditions[name], second.conditions[name]]) for name in first.conditions}
    visits = np.repeat([0, 1], len(first))
    stacks = np.concatenate([first.stacks, second.stacks + 2])
    both = features(Slices(**joined, conditions=conditions, visits=visits, stacks=stacks, records=first.records))
    one, other = features(first), features(second)
    assert both == pytest.approx({name: (one[name] + other[name]) / 2 for name in both})


def test_shapes_come_from_the_whole_stack_and_brightness_from_the_images_that_there_are():
    whole = cohort([record()], seed=0, slices=3)
    few = whole.take(np.array([0]))
    found, every = features(whole, few), features(whole)
    assert found["lv_edv_ml"] == every["lv_edv_ml"]
    assert found["lv_brightness_median_ed"] == pytest.approx(np.median(few.images[few.masks == LV]))
    assert math.isnan(found["lv_brightness_median_es"]), "no image of systole is there"


def test_patients_without_both_phases_are_refused_where_nobody_has_them():
    whole = cohort([record()], seed=0)
    with pytest.raises(ValueError, match="no patient has both"):
        disease_features(whole.take(np.array([0, 1])), whole)


def test_diseases_are_learnt_from_three_patients_on_and_unknown_is_none():
    assert diseases_to_learn(["NOR"] * 3 + ["DCM"] * 5 + ["HCM"] * 2 + ["unknown"] * 9) == ("DCM", "NOR")


def planted(count, gap, seed, first=0):
    """`count` patients of each of three diseases; the first feature differs by `gap`, the other two are noise."""
    random, names = np.random.default_rng(seed), ("DCM", "HCM", "NOR")
    owners = tuple(record(first + number, pathology=names[number % 3]) for number in range(3 * count))
    values = random.normal(size=(3 * count, 3))
    values[:, 0] += gap * (np.arange(3 * count) % 3)
    values[::7, 1] = np.nan
    return DiseaseFeatures(owners, ("signal", "noise", "more noise"), values)


def scored(gap, training=None, seed=0):
    classes, tested = ("DCM", "HCM", "NOR"), planted(10, gap, 1 + seed, first=100)
    forest = disease_forest([training or planted(15, gap, 50 + seed)], classes, seed)
    found = disease_probabilities(forest, [tested])
    return disease_scores(found, [owner.pathology for owner in tested.patients], classes, 300, seed)


def test_a_planted_disease_is_told_from_the_others():
    found = scored(gap=6.0)
    assert found["balanced_accuracy"]["value"] > 0.9
    assert found["balanced_accuracy"]["ci95"][0] > found["balanced_accuracy"]["chance"] == pytest.approx(1 / 3)
    assert found["macro_auc"]["ci95"][0] > 0.9
    assert found["p"] < 0.001


def test_where_nothing_is_planted_nothing_is_found():
    found = [scored(gap=0.0, seed=seed) for seed in range(4)]
    assert np.mean([one["macro_auc"]["value"] for one in found]) == pytest.approx(0.5, abs=0.1)
    assert sum(one["p"] < 0.05 for one in found) <= 1


def test_training_patients_of_other_diseases_are_left_out():
    more = planted(15, 6.0, 50)
    foreign = tuple(record(900 + n, pathology="ARV") for n in range(45))
    both = DiseaseFeatures(more.patients + foreign, more.names, np.concatenate([more.values, more.values]))
    assert scored(6.0, both) == scored(6.0, more)


def test_repeated_segmenters_are_averaged():
    training, classes = planted(10, 6.0, 0), ("DCM", "HCM", "NOR")
    first, second = planted(4, 6.0, 1), planted(4, 0.0, 2)
    forest = disease_forest([training], classes, 0)
    both = disease_probabilities(forest, [first, second])
    each = [disease_probabilities(forest, [one]) for one in (first, second)]
    assert both == pytest.approx((each[0] + each[1]) / 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), sizes=st.lists(st.integers(2, 8), min_size=3, max_size=3))
def test_scores_are_those_of_scikit_learn(seed, sizes):
    random, classes = np.random.default_rng(seed), ("DCM", "HCM", "NOR")
    truth = np.repeat(np.arange(3), sizes)
    probabilities = random.dirichlet(np.ones(3), len(truth)).round(1)
    found = disease_scores(probabilities, [classes[number] for number in truth], classes, 100)
    predicted = probabilities.argmax(axis=1)
    assert found["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    each = [roc_auc_score(truth == number, probabilities[:, number]) for number in range(3)]
    assert found["macro_auc"]["value"] == pytest.approx(np.mean(each))
    assert sum(sum(row.values()) for row in found["confusion"].values()) == len(truth)
    assert sum(found["confusion"][name][name] for name in classes) == (truth == predicted).sum()
    low, high = found["balanced_accuracy"]["ci95"]
    assert 0 <= low <= high <= 1


def test_the_intervals_patients_are_drawn_within_each_disease():
    """A disease that is always told adds nothing to the interval, however few have it."""
    found = disease_scores(np.eye(2)[[0, 0, 0, 0, 1, 1]], ["A", "A", "B", "B", "B", "B"], ("A", "B"), 500)
    recall_of_the_other = 2 * np.array(found["balanced_accuracy"]["ci95"]) - 1
    assert found["patients"] == {"A": 2, "B": 4}
    assert recall_of_the_other == pytest.approx([0.0, 1.0])


def test_tested_patients_of_a_disease_not_learnt_or_of_a_single_patient_are_counted_and_left_out():
    found = disease_scores(np.eye(3)[[0, 0, 1, 1, 1, 2]], ["A", "A", "B", "B", "not learnt", "C"], ("A", "B", "C"), 100)
    assert (found["left_out"], found["patients"]) == (2, {"A": 2, "B": 2})
    assert found["balanced_accuracy"] == {"value": 1.0, "ci95": [1.0, 1.0], "chance": pytest.approx(1 / 3)}


def test_one_disease_alone_cannot_be_told_from_another():
    with pytest.raises(ValueError, match="told from another, found 1"):
        disease_scores(np.eye(2)[[0, 0]], ["A", "A"], ("A", "B"), 100)
