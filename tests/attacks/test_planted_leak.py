"""A generator trained far too long on eight phantom patients is found out; of patients it never saw nothing is."""

import pytest

from cmrfed.attacks import ATTACKS, Claim, Cohort, Probe, judge, score_patients
from cmrfed.config import PreprocessingConfig
from cmrfed.evaluation import few_of_each
from cmrfed.evaluation.leakage.scene import patient_slices
from cmrfed.preparation import phantom_slices
from cmrfed.slices import concatenate
from simulations.bench_leak import overtrained

NAMES = ("loss", "pian", "sima", "pfami", "clid", "gradient_norm")


@pytest.fixture(scope="module")
def hearts():
    """Eight patients to train on, eight others, ten strangers; a slice each."""
    few = few_of_each(phantom_slices(26, 0, PreprocessingConfig(size=16)), 1)
    return [few.subset(few.patient_names[start:stop]) for start, stop in ((0, 8), (8, 16), (16, 26))]


@pytest.fixture(scope="module")
def generator(hearts):
    return overtrained(hearts[0], "flow", steps=300, seed=0)


def judged(generator, group, strangers):
    cohort = Cohort.of(group.records, strangers.records, 0)
    probe = Probe(generator, patient_slices(concatenate([group, strangers])), times=4)
    return judge(score_patients({"probe": probe}, cohort, NAMES), None, cohort, Claim(), 200, 0)


def test_a_planted_leak_is_found_by_at_least_three_families(generator, hearts):
    found = judged(generator, hearts[0], hearts[2])
    families = {ATTACKS[name].family for name, one in found.items() if one["tpr_at_1pct_fpr"] > 0.5}
    assert len(families) >= 3
    assert all(found[name]["auc_ci95"][0] > 0.5 for name in ("loss", "sima", "clid"))


def test_patients_of_another_generator_are_not_found(generator, hearts):
    found = judged(generator, hearts[1], hearts[2])
    assert all(one["auc_ci95"][0] <= 0.5 <= one["auc_ci95"][1] for one in found.values())
    assert all(one["p_value_adjusted"] > 0.05 for one in found.values())
