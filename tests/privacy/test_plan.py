"""Sampling is Poisson, noise is Gaussian with the stated scale, and the divisor is public."""

import numpy as np
import pytest
import torch
from conftest import toy_plan
from pydantic import ValidationError
from scipy import stats

from cmrfed.privacy import SecureRandom, SeededRandom
from cmrfed.privacy.randomness import KEY_BYTES
from cmrfed.privacy.rounding import GRID


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


def keyed(number):
    """The secure stream under a key of the tests', so that its statistics are the same in every run."""
    return SecureRandom(bytes([number]) * KEY_BYTES)


def released(plan, total, random):
    """What a site alone releases for a clipped sum."""
    return plan.mean(plan.noised(total, plan.clipping, random), plan.clipping)


@pytest.mark.parametrize("random", [keyed(0), SeededRandom(3)])
def test_released_noise_is_gaussian_with_sigma_c_over_the_public_batch(random):
    plan = toy_plan(noise_multiplier=2.5, max_grad_norm=0.4, sample_rate=0.5, declared_patients=10)
    found = released(plan, torch.zeros(200_000, dtype=torch.float64), random).numpy()
    scale = 2.5 * 0.4 / 5.0
    jitter = np.random.default_rng(0).uniform(-0.5, 0.5, len(found)) * GRID * scale  # undoes the grid's ties
    assert stats.kstest(found + jitter, "norm", args=(0, scale)).pvalue > 1e-4
    assert found.std() == pytest.approx(scale, rel=0.01)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.01


@pytest.mark.parametrize(("sites", "dropouts", "colluders"), [(2, 0, 0), (4, 1, 0), (5, 1, 2)])
def test_what_is_left_of_shared_noise_in_the_worst_case_is_the_whole_of_it(sites, dropouts, colluders):
    """Summed over the sites that neither failed nor told the server their share."""
    among = {"sites": sites, "dropouts": dropouts, "colluders": colluders}
    plan = toy_plan(noise_multiplier=2.5, max_grad_norm=0.4, **among)
    nothing = torch.zeros(100_000, dtype=torch.float64)
    honest = sites - dropouts - colluders
    total = sum(plan.noised(nothing, plan.clipping, keyed(site)) for site in range(honest))
    found = plan.mean(total, plan.clipping, sites).numpy()
    scale = 2.5 * 0.4 / (0.5 * 4 * sites)
    jitter = np.random.default_rng(0).uniform(-0.5, 0.5, len(found)) * GRID * scale
    assert stats.kstest(found + jitter, "norm", args=(0, scale)).pvalue > 1e-4
    assert found.std() == pytest.approx(scale, rel=0.01)


def test_by_its_own_share_alone_a_site_is_worth_what_alone_says():
    plan = toy_plan(noise_multiplier=3.0, sites=9)
    assert plan.alone.noise_multiplier == pytest.approx(1.0)
    assert plan.alone.event(1).noise == "local"
    noised = plan.noised(torch.zeros(50_000, dtype=torch.float64), plan.clipping, SecureRandom())
    share = plan.mean(noised, plan.clipping).numpy() * plan.expected_batch_size / plan.clipping.max_grad_norm
    assert share.std() == pytest.approx(plan.alone.noise_multiplier, rel=0.02)


@pytest.mark.parametrize(("sites", "dropouts", "colluders"), [(2, 1, 0), (4, 1, 2), (3, 0, 3)])
def test_distributed_noise_that_secure_aggregation_cannot_bear_is_refused(sites, dropouts, colluders):
    with pytest.raises(ValidationError, match="sites > 2 dropouts"):
        toy_plan(sites=sites, dropouts=dropouts, colluders=colluders)


def test_release_is_on_a_grid_that_hides_low_bits():
    plan = toy_plan(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, declared_patients=1)
    found = released(plan, torch.full((1000,), 1 / 3, dtype=torch.float64), SecureRandom())
    assert torch.equal((found / GRID).round(), found / GRID)


def test_the_divisor_is_the_plans_and_not_a_count_of_patients():
    values = torch.full((3,), 1e9, dtype=torch.float64)
    for declared in (4, 400):
        plan = toy_plan(declared_patients=declared)
        assert released(plan, values, SeededRandom(0)).mean() == pytest.approx(1e9 / (0.5 * declared), rel=1e-6)


def test_tails_reach_beyond_what_53_bits_could_hold():
    """A radius drawn from 53 bits would end at 8.6."""

    class Extreme(SeededRandom):
        def words(self, count):
            return np.zeros(count, dtype=np.uint64)

    assert 12 < Extreme(0).normal(2).abs().max() < 14
    assert stats.kstest(keyed(1).normal(200_000).numpy(), "norm").pvalue > 1e-4


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
    assert plan.event(6).model_dump() == {"sample_rate": 0.25, "noise_multiplier": 3.0, "steps": 6, "noise": "local"}
