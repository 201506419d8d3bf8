"""No honest site is beyond its reach but for the stated chance, and the reach is no wider than it must be."""

import math

import numpy as np
import pytest
import torch
from conftest import toy_plan, toy_slices
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cmrfed.config import AdaptiveClipping, TrainingConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy, SeededRandom
from cmrfed.replies import size
from cmrfed.training import LocalTask, train
from cmrfed.training.reach import (
    FAILURE,
    LARGEST_PLAIN_GRADIENT,
    MOST_PATIENTS,
    gradient_reach,
    norm_range,
    update_reach,
)

ADAPTIVE = AdaptiveClipping(quantile=0.5, learning_rate=0.3, share=0.2, range=4.0)


PLAIN = NoPrivacy()


def task(plan=PLAIN, rounds=10, **training):
    return LocalTask(training=TrainingConfig(**training), plan=plan, round=1, rounds=rounds)


def moved_by_adam(gradients):
    """How far one weight goes, in units of the learning rate, in double precision."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=1.0)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return abs(float(weight.detach()))


sizes = st.floats(-1e12, 1e12) | st.floats(-1e-6, 1e-6) | st.sampled_from([0.0, 1.0, -1.0])


@given(st.lists(sizes, min_size=1, max_size=30))
@settings(deadline=None, max_examples=100)
def test_whatever_the_gradients_adam_stays_within_reach(gradients):
    asked = task(optimizer="adam", learning_rate=1.0, local_steps=len(gradients))
    assert moved_by_adam(gradients) <= update_reach(asked, 1, largest_weight=0.0).entry


def test_gradients_that_grow_by_b2_over_b1_make_the_largest_step_of_adam():
    """Farther than Kingma and Ba's (1 - b1) / sqrt(1 - b2) = 3.2, which therefore bounds no honest site."""
    steps = 400
    grown = [(0.999 / 0.9) ** step for step in range(steps)]
    last = moved_by_adam(grown) - moved_by_adam(grown[:-1])
    asked = [task(optimizer="adam", learning_rate=1.0, local_steps=count) for count in (steps - 1, steps)]
    shorter, longer = (update_reach(one, 1, 0.0).entry for one in asked)
    assert last == pytest.approx(longer - shorter, rel=2e-3)
    assert last > 4


def test_the_betas_are_those_of_the_optimizer_that_sites_run():
    assert torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).defaults["betas"] == (0.9, 0.999)


@pytest.mark.parametrize("sites", [1, 7])
def test_the_chance_that_an_honest_site_is_beyond_its_reach_is_the_stated_one(sites):
    """Sampling, the largest noise and the noise's norm each, recomputed from their exact distributions."""
    entries, steps, rounds = 5000, 3, 40
    among = {"sites": sites, "dropouts": 1, "colluders": 2} if sites > 1 else {}
    plans = [toy_plan(noise_multiplier=sigma, **among) for sigma in (1.0, 2.0)]
    asked = task(plans[0], rounds, local_steps=steps)
    weak, strong = (gradient_reach(asked, plan, entries, sites) for plan in plans)
    plan = plans[0]
    unit = 1.001 * plan.clipping.max_grad_norm / (plan.expected_batch_size * sites)
    deviation = math.sqrt(sites / plan.shares)
    largest, norm = (
        (b - a) / (unit * steps * deviation)
        for a, b in zip((weak.entry, weak.norm), (strong.entry, strong.norm), strict=True)
    )
    sampled = weak.entry / unit - largest * steps * deviation
    allowed = FAILURE / (1000 * rounds)
    patients = MOST_PATIENTS * plan.declared_patients * sites
    chances = (
        stats.binom.sf(math.floor(sampled), patients * steps, plan.sample_rate),
        2 * stats.norm.sf(largest) * entries * steps,
        stats.chi.sf(norm, entries) * steps,
    )
    assert sum(chances) <= allowed
    assert largest <= 1.1 * stats.norm.isf(allowed / (2 * entries * steps)), "no wider than it must be"
    assert norm <= 1.1 * stats.chi.isf(allowed / steps, entries)


@pytest.mark.parametrize("adaptive", [None, ADAPTIVE])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_honest_sites_update_is_within_reach(adaptive, optimizer, tiny_generator_config, fp32_training):
    plan = toy_plan(adaptive=adaptive, noise_multiplier=2.0, declared_patients=3)
    training = fp32_training.model_copy(update={"optimizer": optimizer, "local_steps": 4})
    asked = LocalTask(training=training, plan=plan, round=2, rounds=4, max_grad_norm=0.6 if adaptive else None)
    run = train(build_generator(tiny_generator_config, 0), toy_slices([2] * 6), asked)
    reach = update_reach(asked, sum(array.size for array in run.update.values()), largest_weight=1.0)
    assert reach.holds(*size(run.update))
    assert not reach.holds(*size({name: array * 1000 for name, array in run.update.items()}))
    least, largest = norm_range(asked)
    assert adaptive is None or least <= run.max_grad_norm <= largest


def test_a_site_of_a_hundred_times_the_declared_patients_who_all_agree_is_within_reach():
    """The largest honest sum there is: every clipped gradient is the same, and of length C."""
    plan, entries = toy_plan(noise_multiplier=1.0, declared_patients=5), 300
    asked, random = task(plan, optimizer="sgd", learning_rate=0.1, local_steps=3), SeededRandom(1)
    moved = torch.zeros(entries, dtype=torch.float64)
    for _ in range(3):
        total = torch.zeros(entries, dtype=torch.float64)
        total[7] = len(plan.sample_patients(MOST_PATIENTS * 5, random)) * plan.clipping.max_grad_norm
        moved -= 0.1 * plan.mean(plan.noised(total, plan.clipping, random), plan.clipping)
    reach, update = update_reach(asked, entries, 1.0), {"w": moved.numpy()}
    assert reach.holds(*size(update))
    assert not reach.holds(*size({"w": 1.5 * moved.numpy()})), "nor far from it"


def test_the_norm_goes_no_farther_than_its_steps_and_its_range():
    plan = toy_plan(adaptive=ADAPTIVE, max_grad_norm=1.0)
    near = task(plan, local_steps=2)
    assert norm_range(near) == pytest.approx((math.exp(-0.6), math.exp(0.6)))
    assert norm_range(task(plan, local_steps=50)) == pytest.approx((0.25, 4.0))
    clipping = near.clipping
    for answer in (-1e9, -0.3, 0.0, 1e9):
        come_to = clipping.moved(answer, 1.0).moved(answer, 1.0).max_grad_norm
        assert norm_range(near)[0] <= come_to * (1 + 1e-12) and come_to <= norm_range(near)[1] * (1 + 1e-12)
    fixed = task(toy_plan(max_grad_norm=0.7))
    assert norm_range(fixed) == (0.7, 0.7)


def test_without_privacy_plain_descent_is_bounded_by_a_gradient_that_nobody_has():
    reach = update_reach(task(optimizer="sgd", learning_rate=0.1, local_steps=2), 10, largest_weight=1.0)
    assert reach.norm == pytest.approx(0.2 * LARGEST_PLAIN_GRADIENT, rel=1e-3)
    assert not reach.holds(1e30, 1e30)
    assert not reach.holds(np.nan, 1.0) and not reach.holds(1.0, np.nan)
