"""A distance beside the floor that other real patients set."""

import numpy as np
import pytest
import torch

from cmrfed.fidelity import METRICS, PatientFeatures, fidelity_scores, kernel_distance


def hearts(patients, slices, seed, shift=0.0):
    """Features with a part that is the patient's own, as those of slices have."""
    generator = np.random.default_rng(seed)
    own = generator.normal(shift, 0.5, (patients, 1, 8))
    values = (own + generator.normal(0, 1, (patients, slices, 8))).reshape(-1, 8)
    return PatientFeatures(torch.from_numpy(values).float(), torch.arange(patients).repeat_interleave(slices))


def test_the_report_has_every_metric_its_interval_and_its_floor():
    scores = fidelity_scores(hearts(12, 10, 0), hearts(10, 10, 1), hearts(12, 10, 2))
    expected = {f"{name}{side}{part}" for name in METRICS for side in ("", "_real") for part in ("", "_se", "_ci95")}
    assert set(scores) == expected | {"images"}
    assert scores["images"] == 100  # the smallest set's
    for name in METRICS:
        low, high = scores[f"{name}_ci95"]
        assert low < scores[name] < high


def test_a_shifted_generator_is_told_from_the_floor_and_a_perfect_one_is_not():
    reference, test = hearts(20, 10, 0), hearts(20, 10, 1)
    shifted = fidelity_scores(reference, test, hearts(20, 10, 2, shift=1.0))
    perfect = fidelity_scores(reference, test, hearts(20, 10, 3))
    assert shifted["kid_ci95"][0] > shifted["kid_real_ci95"][1]
    assert shifted["fid"] > 3 * shifted["fid_real"]
    assert perfect["kid_ci95"][0] < perfect["kid_real_ci95"][1]


def test_a_copy_of_the_real_training_images_scores_exactly_the_floor():
    reference, test = hearts(10, 10, 0), hearts(10, 10, 1)
    scores = fidelity_scores(reference, test, reference)
    for name in METRICS:
        assert scores[name] == scores[f"{name}_real"]


def test_the_same_seed_gives_the_same_numbers_and_leaves_global_generators_alone():
    sides = hearts(6, 12, 0), hearts(7, 9, 1), hearts(8, 11, 2)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert fidelity_scores(*sides, seed=5) == fidelity_scores(*sides, seed=5)
    assert fidelity_scores(*sides, seed=5) != fidelity_scores(*sides, seed=6)
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.get_rng_state())


def test_the_standard_error_is_the_spread_over_new_patients():
    """Recomputed the honest way, with new patients each time, which only a simulation can have."""
    values = [
        kernel_distance(hearts(30, 5, 3 * seed, shift=0.5).features, hearts(30, 5, 3 * seed + 1).features)
        for seed in range(60)
    ]
    errors = [
        fidelity_scores(hearts(30, 5, 100), hearts(30, 5, 3 * s + 1), hearts(30, 5, 3 * s, shift=0.5))["kid_se"]
        for s in range(5)
    ]
    assert 0.6 < np.mean(errors) / np.std(values) < 1.6


def test_one_patient_has_no_interval_over_patients():
    with pytest.raises(ValueError, match="two or more"):
        fidelity_scores(hearts(5, 4, 0), hearts(5, 4, 1), hearts(1, 20, 2))
