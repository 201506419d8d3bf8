"""Sampling is Poisson, noise is Gaussian with the stated scale, and the divisor is public."""

import numpy as np
import pytest
import torch
from conftest import toy_plan
from pydantic import ValidationError
from scipy import stats

from cmrfed.privacy import SecureRandom, SeededRandom


def test_each_patient_is_sampled_independently_at_the_plans_rate():
    plan, random = toy_plan(sample_rate=0.3), SeededRandom(1)
    draws = np.zeros((2000, 12), dtype=bool)
    for row in draws:
        row[plan.sample_patients(12, random)] = True
    sizes = draws.sum(1)
    expected = 2000 * stats.binom.pmf(np.arange(8), 12, 0.3)  # above 7 too few are expected for a chi-square
    found = np.bincount(sizes, minlength=13)
    assert stats.chisquare([*found[:8], found[8:].sum()], [*expected, 2000 - expected.sum()]).pvalue > 1e-3
    assert np.abs(np.corrcoef(draws.T) - np.eye(12)).max() < 0.1


def test_rate_one_takes_everybody_and_empty_draws_happen():
    assert len(toy_plan(sample_rate=1.0).sample_patients(7, SeededRandom(0))) == 7
    random = SeededRandom(0)
    assert any(len(toy_plan(sample_rate=0.05).sample_patients(3, random)) == 0 for _ in range(20))


@pytest.mark.parametrize("random", [SecureRandom(), SeededRandom(3)])
def test_released_noise_is_gaussian_with_sigma_c_over_the_public_batch(random):
    plan = toy_plan(noise_multiplier=2.5, max_grad_norm=0.4, sample_rate=0.5, declared_patients=10)
    released = plan.release(torch.zeros(200_000, dtype=torch.float64), random).numpy()
    scale = 2.5 * 0.4 / 5.0
    assert stats.kstest(released, "norm", args=(0, scale)).pvalue > 1e-4
    assert released.std() == pytest.approx(scale, rel=0.01)
    assert abs(np.corrcoef(released[:-1], released[1:])[0, 1]) < 0.01


def test_release_is_on_a_grid_that_hides_low_bits():
    plan = toy_plan(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, declared_patients=1)
    released = plan.release(torch.full((1000,), 1 / 3, dtype=torch.float64), SecureRandom())
    assert torch.equal((released * 2**20).round(), released * 2**20)


def test_the_divisor_is_the_plans_and_not_a_count_of_patients():
    values = torch.full((3,), 1e9, dtype=torch.float64)
    for declared in (4, 400):
        plan = toy_plan(declared_patients=declared)
        assert plan.release(values, SeededRandom(0)).mean() == pytest.approx(1e9 / (0.5 * declared), rel=1e-6)


def test_two_secure_sources_never_repeat_and_a_seed_always_does():
    assert not torch.equal(SecureRandom().normal(8), SecureRandom().normal(8))
    assert torch.equal(SeededRandom(1, 2).normal(9), SeededRandom(1, 2).normal(9))
    assert not torch.equal(SeededRandom(1, 2).normal(9), SeededRandom(1, 3).normal(9))
    assert toy_plan(seed=None).random(0, 1).secure


def test_a_plan_cannot_be_changed_once_made():
    plan = toy_plan()
    with pytest.raises(ValidationError):
        plan.noise_multiplier = 0.1


def test_the_event_is_the_mechanism_that_ran():
    plan = toy_plan(sample_rate=0.25, noise_multiplier=3.0)
    assert plan.event(6).model_dump() == {"sample_rate": 0.25, "noise_multiplier": 3.0, "steps": 6}
