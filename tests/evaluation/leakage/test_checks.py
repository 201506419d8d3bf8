"""Checks of the generator as a whole: names that cannot be looked up, the overfitting gap, a site's style."""

import hashlib
import stat
import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from cmrfed.evaluation.leakage.attacks import hashed_names, name_key, overfitting_gap, style_recovery
from cmrfed.evaluation.leakage.attacks.style import balanced_accuracy


def test_a_hashed_name_can_be_found_again_with_the_key_alone(tmp_path):
    path = tmp_path / "central" / "names.key"
    key = name_key(path)
    assert len(key) == 32 and name_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = hashed_names(["anna", "bela"], key)
    assert found == hashed_names(["anna", "bela"], key) and len(set(found)) == 2
    assert hashed_names(["anna"], name_key(tmp_path / "other.key")) != found[:1]
    assert found[0] not in hashlib.sha256(b"anna").hexdigest()


def test_the_gap_is_the_difference_of_means_and_its_interval_covers_it():
    random, covered = np.random.default_rng(0), 0
    for seed in range(50):
        trained, held_out = random.normal(0.2, 0.1, 40), random.normal(0.3, 0.1, 20)
        found = overfitting_gap(trained, held_out, 100, seed)
        assert found["gap"] == pytest.approx(held_out.mean() - trained.mean())
        covered += found["gap_ci95"][0] <= 0.1 <= found["gap_ci95"][1]
    assert covered >= 42


def sites(count, shift, seed):
    """Two sites that differ by `shift` in one of three statistics."""
    names = np.array(["north", "south"])[np.arange(count) % 2]
    values = np.random.default_rng(seed).normal(size=(count, 3))
    values[:, 0] += shift * (names == "south")
    return values, names.tolist()


def test_a_style_that_got_through_is_recognised_and_one_that_did_not_is_not():
    real, names = sites(80, 4.0, 0)
    held_out, truth = sites(30, 4.0, 1)
    through, _ = sites(30, 4.0, 2)
    lost, _ = sites(30, 0.0, 3)
    found = style_recovery(real, names, held_out, through, truth, 200)
    assert found["synthetic"] > 0.9 and found["synthetic_ci95"][0] > 0.5 and found["synthetic_p"] < 0.01
    found = style_recovery(real, names, held_out, lost, truth, 200)
    assert found["held_out"] > 0.9 and found["synthetic_ci95"][0] <= 0.5 and found["synthetic_p"] > 0.05
    assert (found["chance"], found["sites"], found["patients"]) == (0.5, 2, 30)


def test_balanced_accuracy_is_scikit_learns():
    random = np.random.default_rng(0)
    for _ in range(20):
        truth = np.array(["a", "b", "c"])[random.integers(0, 3, 12)]
        guessed = np.array(["a", "b", "c", "d"])[random.integers(0, 4, 12)]
        with warnings.catch_warnings(action="ignore"):
            assert balanced_accuracy(truth, guessed) == pytest.approx(balanced_accuracy_score(truth, guessed))


def test_one_site_alone_cannot_be_told_apart():
    values, names = sites(10, 0.0, 0)
    with pytest.raises(ValueError, match="needs two"):
        style_recovery(values, ["north"] * 10, values, values, names)
