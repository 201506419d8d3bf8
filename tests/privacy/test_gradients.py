"""One patient changes the released sum by at most C, and the sum is what plain autograd says it is."""

import copy
import math
from dataclasses import fields
from functools import partial

import pytest
import torch
from conftest import toy_plan, toy_slices
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cmrfed.config import GeneratorConfig, TrainingConfig
from cmrfed.generators import FAMILIES, build_generator
from cmrfed.privacy import SeededRandom, clipped_gradient_sum, patient_gradient
from cmrfed.slices import Slices
from cmrfed.training import patient_loss, private_gradient


def linear_patients(gradients):
    """Losses w . g, whose gradients are the rows g."""
    weight = nn.Parameter(torch.zeros(gradients.shape[1]))
    return [weight], [partial(lambda w, g: (w * g).sum(), weight, g) for g in gradients]


gradient_rows = st.lists(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=3, max_size=3),
    min_size=0,
    max_size=6,
)


@given(rows=gradient_rows, extra=gradient_rows.filter(lambda rows: len(rows) >= 1))
@settings(deadline=None, max_examples=150)
def test_one_patient_more_or_less_moves_the_sum_by_at_most_c(rows, extra):
    plan = toy_plan(max_grad_norm=0.7)
    without = torch.tensor(rows, dtype=torch.float32).reshape(-1, 3)
    with_one = torch.cat([without, torch.tensor(extra[:1], dtype=torch.float32)])
    sums = [clipped_gradient_sum(*linear_patients(rows), plan) for rows in (without, with_one)]
    assert all(total.isfinite().all() for total in sums)
    assert torch.linalg.vector_norm(sums[1] - sums[0]) <= plan.max_grad_norm


@given(count=st.integers(1, 60), scale=st.floats(0.01, 1e4))
@settings(deadline=None, max_examples=15)
def test_no_number_of_slices_lifts_a_patient_above_c(count, scale):
    training = TrainingConfig(slices_per_patient=count, precision="fp32")
    generator = build_generator(GeneratorConfig(channels=(4, 4), norm_groups=2), seed=0)
    slices, plan = toy_slices([count]), toy_plan(max_grad_norm=0.3)
    weights = list(generator.parameters())
    loss = lambda: scale * patient_loss(generator, slices, 0, training, SeededRandom(1), torch.device("cpu"))  # noqa: E731
    assert torch.linalg.vector_norm(clipped_gradient_sum(weights, [loss], plan)) <= plan.max_grad_norm


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("trainable", ["all", "adaptation"])
def test_the_sum_equals_a_plain_loop_in_double_precision(family, trainable, tiny_generator_config, fp32_training):
    """Reference: one backward a patient in fp64 on a copy of the network, clipped and summed by hand."""
    changes = {"family": family, "trainable": trainable}
    generator = build_generator(tiny_generator_config.model_copy(update=changes), seed=0)
    for weight in generator.parameters():
        nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(1))
    slices, plan = toy_slices([3, 1, 6]), toy_plan(max_grad_norm=0.05)
    weights = [weight for weight in generator.parameters() if weight.requires_grad]

    def losses(model, own):
        random = SeededRandom(5)
        return [partial(patient_loss, model, own, p, fp32_training, random, torch.device("cpu")) for p in range(3)]

    found = clipped_gradient_sum(weights, losses(generator, slices), plan)
    reference = copy.deepcopy(generator).double()
    expected = torch.zeros(sum(weight.numel() for weight in weights), dtype=torch.float64)
    for loss in losses(reference, DoubleSlices(**{f.name: getattr(slices, f.name) for f in fields(slices)})):
        reference.zero_grad()
        loss().backward()
        flat = torch.cat([weight.grad.flatten() for weight in reference.parameters() if weight.requires_grad])
        assert flat.norm() > plan.max_grad_norm, "a patient that is not clipped would test less"
        expected += flat * plan.max_grad_norm / flat.norm()
    assert torch.linalg.vector_norm(found - expected) <= 1e-5 * torch.linalg.vector_norm(expected)


class DoubleSlices(Slices):
    """Slices that come in double precision."""

    def batch(self, indices, device="cpu"):
        images, masks, conditions = super().batch(indices, device)
        return images.double(), masks, conditions


def test_a_small_gradient_is_left_as_it_is():
    gradient = torch.tensor([[0.1, -0.2, 0.05]])
    total = clipped_gradient_sum(*linear_patients(gradient), toy_plan(max_grad_norm=1.0))
    assert torch.allclose(total, gradient[0].double(), rtol=2e-6)


def test_a_patient_that_is_not_finite_adds_nothing_and_harms_nobody():
    good = torch.tensor([[0.3, 0.0, 0.1]])
    bad = torch.tensor([[math.nan, 1.0, 1.0], [math.inf, 0.0, 0.0]])
    plan = toy_plan()
    alone = clipped_gradient_sum(*linear_patients(good), plan)
    assert torch.equal(alone, clipped_gradient_sum(*linear_patients(torch.cat([bad, good])), plan))


def test_an_empty_draw_gives_zero_and_is_released_with_noise_like_any_other():
    weights, _ = linear_patients(torch.zeros(1, 4))
    plan = toy_plan()
    total = clipped_gradient_sum(weights, [], plan)
    assert torch.equal(total, torch.zeros(4, dtype=torch.float64))
    released = plan.release(total, SeededRandom(0))
    assert (released != 0).all()


def test_weights_a_loss_does_not_reach_get_zero():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    found = patient_gradient([used, unused], lambda: used.sum())
    assert [part.tolist() for part in found] == [[1, 1], [0, 0, 0]]


def test_a_step_is_the_stated_equation(tiny_generator_config, fp32_training):
    """(clipped sum + noise) / (q x declared patients), with the sample and the noise drawn again by hand."""
    generator = build_generator(tiny_generator_config, seed=0)
    weights, slices, plan = list(generator.parameters()), toy_slices([2, 3, 2, 4, 1]), toy_plan(declared_patients=40)
    device = torch.device("cpu")
    found = private_gradient(generator, weights, slices, fp32_training, plan, SeededRandom(9), device)
    random = SeededRandom(9)
    sampled = [p for p, u in enumerate(random.uniform(5)) if u <= plan.sample_rate]
    assert 0 < len(sampled) < 5
    losses = [partial(patient_loss, generator, slices, p, fp32_training, random, device) for p in sampled]
    clipped = clipped_gradient_sum(weights, losses, plan)
    expected = (clipped + 1.0 * 0.5 * random.normal(len(clipped))) / (0.5 * 40)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_patients_presence_changes_no_other_patients_distribution(tiny_generator_config, fp32_training):
    """Draws come from the plan's own stream: two steps never repeat a patient's times and noises."""
    generator, slices = build_generator(tiny_generator_config, seed=0), toy_slices([4])
    random = SeededRandom(0)
    losses = [patient_loss(generator, slices, 0, fp32_training, random, torch.device("cpu")) for _ in range(5)]
    assert len({loss.item() for loss in losses}) == 5
