"""A distance beside the floor that other real patients set."""

import numpy as np
import pytest
import torch

from cmrfed.evaluation.fidelity.metrics import (
    PatientFeatures,
    SliceScores,
    fidelity_scores,
    in_units_of,
    kernel_distance,
    mean_scores,
    scores_beside_floor,
    set_distances,
)


def hearts(patients, slices, seed, shift=0.0):
    """Features with a part that is the patient's own, as those of slices have."""
    generator = np.random.default_rng(seed)
    own = generator.normal(shift, 0.5, (patients, 1, 8))
    values = (own + generator.normal(0, 1, (patients, slices, 8))).reshape(-1, 8)
    return PatientFeatures(torch.from_numpy(values).float(), torch.arange(patients).repeat_interleave(slices))


def test_the_report_has_every_metric_its_interval_and_its_floor():
    scores = fidelity_scores(hearts(12, 10, 0), hearts(10, 10, 1), hearts(12, 10, 2))
    names = set_distances(torch.rand(9, 2), torch.rand(9, 2))
    expected = {f"{name}{side}{part}" for name in names for side in ("", "_real") for part in ("", "_ci95")}
    assert set(scores) == expected | {"images"}
    assert scores["images"] == 100  # the smallest set's
    for name in names:
        low, high = scores[f"{name}_ci95"]
        assert low <= scores[name] <= high
        if name in ("fid", "kid"):  # the others may sit at an end of their range
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
    scores = scores_beside_floor(set_distances, {"copy": reference}, reference, test)["copy"]
    for score in scores.values():
        assert (score["value"], score["ci95"]) == (score["floor"], score["floor_ci95"])


def test_the_same_seed_gives_the_same_numbers_and_leaves_global_generators_alone():
    sides = hearts(6, 12, 0), hearts(7, 9, 1), hearts(8, 11, 2)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert fidelity_scores(*sides, seed=5) == fidelity_scores(*sides, seed=5)
    assert fidelity_scores(*sides, seed=5) != fidelity_scores(*sides, seed=6)
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.get_rng_state())


def test_the_interval_is_the_spread_over_new_patients():
    """Recomputed the honest way, with new patients each time, which only a simulation can have."""

    def kernel(made, real):
        return {"kid": kernel_distance(made, real)}

    values = [
        kernel_distance(hearts(30, 5, 3 * seed, shift=0.5).features, hearts(30, 5, 3 * seed + 1).features)
        for seed in range(60)
    ]
    errors = []
    for seed in range(5):
        made, test = hearts(30, 5, 3 * seed, shift=0.5), hearts(30, 5, 3 * seed + 1)
        low, high = scores_beside_floor(kernel, {"": made}, hearts(30, 5, 100), test)[""]["kid"]["ci95"]
        errors.append((high - low) / (2 * 1.96))
    assert 0.6 < np.mean(errors) / np.std(values) < 1.6


def test_arms_share_one_sample_size_and_progress_ends_at_the_total():
    seen, sizes = [], set()

    def count(made, real):
        sizes.add((len(made), len(real)))
        return {"n": float(len(made)), "never": float("nan")}

    made = {"few": hearts(6, 5, 0), "many": hearts(9, 9, 1)}
    found = scores_beside_floor(
        count, made, hearts(8, 8, 2), hearts(7, 7, 3), progress=lambda done, total: seen.append((done, total))
    )
    assert {score["n"]["value"] for score in found.values()} == {30}
    assert all(first == second for first, second in sizes)
    assert all(set(scores) == {"n"} for scores in found.values())  # what is nowhere finite is left out
    assert seen[-1] == (len(seen), 3 * 41)


def test_one_patient_has_no_interval_over_patients():
    with pytest.raises(ValueError, match="two or more"):
        fidelity_scores(hearts(5, 4, 0), hearts(5, 4, 1), hearts(1, 20, 2))


def test_features_of_many_units_are_put_on_the_real_ones_scale():
    real = hearts(5, 8, 0)
    real = PatientFeatures(real.features * torch.tensor([1e6, *[1.0] * 6, 0.0]), real.patients)
    found = in_units_of(real, {"real": real, "made": PatientFeatures(real.features + 1, real.patients)})
    np.testing.assert_allclose(found["real"].features.std(0, correction=0), [1] * 7 + [0], atol=1e-9)
    np.testing.assert_allclose(found["made"].features[:, 7], 0)


def test_a_mean_is_over_patients_and_leaves_out_what_is_not_known():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [10.0, np.nan], [np.nan, np.nan]])
    own = SliceScores(values, np.array([0, 0, 1, 2]))
    floor = SliceScores(np.array([[5.0, 1.0]]), np.array([0]))
    found = mean_scores(("a", "b"), own, floor, 200, 0)
    assert found["a"]["value"] == pytest.approx((2 + 10) / 2)
    assert found["a"]["floor"] == 5
    assert found["a"]["ci95"] == pytest.approx([2, 10])
    assert "b" not in found
