"""The comparison: equal budgets, equal starts, and what is kept of each training."""

import numpy as np
import pytest
import torch
from toy_stacks import cohort, record

from cmrfed.evaluation.utility.metrics import (
    Budget,
    TrainingSet,
    arms,
    cardiac_function,
    compare_training_sets,
    mean_function,
)

PATIENTS = cohort([record(number) for number in range(3)], seed=0)


@pytest.fixture
def answers(monkeypatch):
    """Segmenters that answer what the list holds, in turn."""
    found = []
    monkeypatch.setattr(arms, "train_segmenter", lambda *_: torch.nn.Identity())
    monkeypatch.setattr(arms, "predict", lambda *_: found.pop(0))
    return found


def test_every_set_has_the_same_steps_seeds_and_network(monkeypatch):
    seen, progress = [], []

    def train(examples, steps, seed, backbone, device, precision, report):
        seen.append((len(examples), steps, seed, backbone, precision))
        report(steps, steps)
        return torch.nn.Identity()

    monkeypatch.setattr(arms, "train_segmenter", train)
    monkeypatch.setattr(arms, "predict", lambda network, slices: slices.masks)
    sets = {count: TrainingSet((PATIENTS.take(np.arange(count)),)) for count in (5, 7, 12)}
    budget = Budget(10, seeds=2, seed=4, backbone="dynunet", precision="fp32")
    compare_training_sets(sets, PATIENTS, budget, lambda *step: progress.append(step))
    assert seen == [(count, 10, seed, "dynunet", "fp32") for count in (5, 7, 12) for seed in (4, 5)]
    assert progress == [(10 * done, 60) for done in range(1, 7)]


def test_seeds_are_averaged_within_a_patient(answers):
    """One seed perfect and one blank: every patient's Dice is one half."""
    answers += [PATIENTS.masks, np.zeros_like(PATIENTS.masks)]
    outcome = compare_training_sets({"real": TrainingSet((PATIENTS,))}, PATIENTS, Budget(1, seeds=2))["real"]
    assert outcome.scores.by_patient("dice")[:, -1].tolist() == [0.5] * 3
    assert len(outcome.masks) == 2


def test_function_is_averaged_over_the_segmenters(answers):
    emptier = np.where(PATIENTS.masks == 1, 0, PATIENTS.masks).astype(np.uint8)
    emptier[PATIENTS.conditions["phase"] == 0] = PATIENTS.masks[PATIENTS.conditions["phase"] == 0]
    answers += [PATIENTS.masks, emptier]
    outcome = compare_training_sets({"real": TrainingSet((PATIENTS,))}, PATIENTS, Budget(1, seeds=2))["real"]
    truth, found = cardiac_function(PATIENTS).values, mean_function(outcome).values
    assert found["lv_edv_ml"] == pytest.approx(truth["lv_edv_ml"])
    assert found["lv_esv_ml"] == pytest.approx(truth["lv_esv_ml"] / 2)
    assert found["lv_ef_percent"] == pytest.approx((truth["lv_ef_percent"] + 100) / 2)


def test_sets_may_be_tested_on_patients_of_their_own(answers):
    first, second = PATIENTS.subset(["toy-000"]), PATIENTS.subset(["toy-001", "toy-002"])
    answers += [first.masks, second.masks]
    sets = dict.fromkeys(("one", "other"), TrainingSet((PATIENTS,)))
    found = compare_training_sets(sets, {"one": first, "other": second}, Budget(1))
    assert {name: len(outcome.scores.patients) for name, outcome in found.items()} == {"one": 1, "other": 2}


def test_a_segmented_patient_keeps_its_images_and_has_the_networks_masks(answers):
    answers += [np.zeros_like(PATIENTS.masks)]
    outcome = compare_training_sets({"real": TrainingSet((PATIENTS,))}, PATIENTS, Budget(1))["real"]
    (segmented,) = outcome.segmented()
    assert segmented.masks.max() == 0
    assert segmented.images is PATIENTS.images
