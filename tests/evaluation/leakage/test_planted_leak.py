"""A generator trained far too long on six phantom patients is found out; of patients it never saw nothing is."""

import pytest
import torch

from benches.leak import overtrained
from cmrfed.config import PreprocessingConfig
from cmrfed.evaluation.leakage.attacks import (
    ATTACKS,
    Answers,
    Candidates,
    Claim,
    Probe,
    Shadows,
    halves,
    judge,
    score_patients,
    train_shadows,
)
from cmrfed.evaluation.leakage.scene import patient_slices
from cmrfed.evaluation.subject import few_of_each
from cmrfed.generators import build_generator
from cmrfed.preparation import phantom_slices
from cmrfed.slices import concatenate

NAMES = ("loss", "mid_path", "pian", "sima", "pfami", "clid", "gradient_norm")
BY_SHADOWS = ("lira", "gradient_shadow")


@pytest.fixture(scope="module")
def hearts():
    """Six patients to train on, six others, eight strangers; a slice each."""
    few = few_of_each(phantom_slices(20, 0, PreprocessingConfig(size=16)), 1)
    return [few.subset(few.patient_names[start:stop]) for start, stop in ((0, 6), (6, 12), (12, 20))]


@pytest.fixture(scope="module")
def generator(hearts):
    return overtrained(hearts[0], "flow", steps=120, seed=0)


@pytest.fixture(scope="module")
def found(generator, hearts):
    """How the generator's own patients are told from strangers."""
    return judged(generator, hearts[0], hearts[2])


@pytest.fixture(scope="module")
def found_of_others(generator, hearts):
    """How patients that it never saw are told from strangers."""
    return judged(generator, hearts[1], hearts[2])


def judged(generator, group, strangers):
    cohort, both = Candidates.of(group.records, strangers.records, 0), concatenate([group, strangers])
    slices = patient_slices(both)
    probe, trained_on = Probe(generator, slices, times=4), halves(both.number_of_patients, 4, seed=0)
    shadows = train_shadows(
        lambda: build_generator(generator.config, seed=0), both, trained_on, 15, 0, torch.device("cpu"), "fp32"
    )
    answers = Answers.stacked([Answers.of(Probe(one, slices, times=4), gradients=True) for one in shadows])
    known = Shadows(Answers.of(probe, gradients=True), answers, trained_on, cohort.calibration & ~cohort.member)
    scores = score_patients({"probe": probe, "shadows": known}, cohort, NAMES + BY_SHADOWS)
    return judge(scores, None, cohort, Claim(), 200, 0)


def test_a_planted_leak_is_found_by_at_least_three_families(found):
    families = {ATTACKS[name].family for name in NAMES if found[name]["tpr_at_1pct_fpr"] > 0.5}
    assert len(families) >= 3
    assert all(found[name]["auc_ci95"][0] > 0.5 for name in ("loss", "sima", "clid"))


def test_shadows_trained_far_shorter_than_the_target_find_its_patients(found):
    assert all(found[name]["auc"] > 0.9 for name in BY_SHADOWS)


def test_patients_of_another_generator_are_not_found(found_of_others):
    assert all(one["auc_ci95"][0] <= 0.5 <= one["auc_ci95"][1] for one in found_of_others.values())
    assert all(one["p_value_adjusted"] > 0.05 for one in found_of_others.values())
