"""A shortcut model learns the flow's velocity and the mean of two half ways, and goes as far as it is told."""

import pytest
import torch
from presets import tiny_generator
from toy_batches import a_batch

from cmrfed.config import SamplingConfig
from cmrfed.generators.shortcut import HALVINGS, LONG_SHARE


def ready(generator, rows=3, grid=(16, 16), seed=4):
    objective = generator.objective
    return objective.told(objective.drawn(a_batch(rows, grid), torch.Generator().manual_seed(seed)))


def test_long_ways_are_powers_of_two_that_end_by_the_end():
    batch = ready(tiny_generator("shortcut"), 2000, (2, 2))
    d, t = batch.draws["step"], batch.draws["times"]
    long = d > 0
    assert float(long.float().mean()) == pytest.approx(LONG_SHARE, abs=0.04)
    assert set((-d[long].log2()).tolist()) == set(range(HALVINGS + 1))
    assert (t + d <= 1).all()
    assert torch.equal((t[long] / d[long]).round(), t[long] / d[long])


def test_the_loss_is_the_papers_in_both_kinds_of_rows():
    generator = tiny_generator("shortcut")
    batch = ready(generator, 12)
    d, t, noise = (batch.draws[name] for name in ("step", "times", "noises"))
    assert (d > 0).any() and (d == 0).any()
    losses = generator.objective.losses(batch)
    for row in range(12):
        own = batch.rows(row, row + 1)

        def s(x, time, length, own=own):
            told = own.conditions | {"step": torch.tensor([length])}
            return generator.network(x, torch.tensor([time]), told)

        length, time = float(d[row]), float(t[row])
        x_t = time * own.images + (1 - time) * noise[row : row + 1]
        target = own.images - noise[row : row + 1]
        if length:
            first = s(x_t, time, length / 2)
            target = (first + s(x_t + length / 2 * first, time + length / 2, length / 2)) / 2
        expected = (s(x_t, time, length) - target).square().mean()
        torch.testing.assert_close(losses[row], expected, rtol=1e-4, atol=1e-6)


def test_nothing_is_learnt_from_the_half_ways_themselves():
    """The gradient is that of the prediction alone, its target held fixed."""
    generator = tiny_generator("shortcut")
    batch = ready(generator, 12)
    row = int((batch.draws["step"] > 0).nonzero()[0])
    own = batch.rows(row, row + 1)
    t, d, noise = (own.draws[name] for name in ("times", "step", "noises"))
    x_t = generator.corrupt(own.images, noise, t)
    with torch.no_grad():
        first = generator.velocity(x_t, t, d / 2, own.conditions)
        target = (first + generator.velocity(x_t + float(d) / 2 * first, t + d / 2, d / 2, own.conditions)) / 2
    fixed = (generator.velocity(x_t, t, d, own.conditions) - target).square().mean()
    weights = list(generator.parameters())
    found, expected = (
        torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        for loss in (generator.objective.losses(own).sum(), fixed)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_it_is_told_how_far_to_go_and_goes_so_far(steps):
    generator, batch = tiny_generator("shortcut"), a_batch()
    asked = []

    def velocity(x_t, t, conditions):
        asked.append((float(t[0]), float(conditions["step"][0])))
        return torch.ones_like(x_t)

    generator.network.forward = velocity
    noises = torch.zeros(3, 1, 16, 16)
    found = generator.denoise(noises, batch.conditions, SamplingConfig(steps=steps))
    assert asked == [(step / steps, 1 / steps) for step in range(steps)]
    torch.testing.assert_close(found, torch.ones_like(noises))
