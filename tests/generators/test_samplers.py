"""Samplers by name: each solves the path's equation to its order, asks as often as it says, and mixes no rows."""

import math

import pytest
import torch
from toy_batches import PATHS, Oracle, a_batch

from cmrfed.config import SamplingConfig
from cmrfed.generators import build_generator
from cmrfed.members import SAMPLERS
from cmrfed.shapes import spread

QUESTIONS = {"euler": 1, "ddim": 1, "heun": 2, "midpoint": 2, "dpm_solver": 1}
"""A step."""


def noises(images):
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def knowing(config, family, image):
    generator = build_generator(config.model_copy(update={"family": family}), seed=0)
    generator.network = Oracle(generator, image)
    return generator


def gaussian(mean, deviation):
    """What a network would see that has learnt images whose pixels are all N(mean, deviation^2)."""

    def image(x_t, signal, noise, conditions):
        gain = signal * deviation**2 / (signal**2 * deviation**2 + noise**2)
        return mean + gain * (x_t - signal * mean)

    return image


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", PATHS)
def test_whoever_knows_the_image_is_carried_to_it_by_any_solver(tiny_generator_config, family, sampler):
    batch = a_batch()
    generator = knowing(tiny_generator_config, family, lambda *_: batch.images)
    found = generator.denoise(noises(batch.images), batch.conditions, SamplingConfig(steps=7, sampler=sampler))
    torch.testing.assert_close(found, batch.images, rtol=0, atol=2e-3)
    if sampler in QUESTIONS:
        times = len(generator.path.sampling_times(7))
        assert len(generator.network.asked) == QUESTIONS[sampler] * (times - 1) + 1


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("midpoint", 2), ("dpm_solver", 2)])
@pytest.mark.parametrize("family", ["flow", "edm"])
def test_a_solver_is_of_its_order(tiny_generator_config, family, sampler, order):
    """Halving the steps divides the error by 2^order. Of images whose pixels are all N(m, s^2) the way is known: how
    many standard deviations x_t is from its mean stays as it was."""
    batch, mean, deviation = a_batch(2, (8, 8)), 0.3, 0.4
    generator = knowing(tiny_generator_config, family, gaussian(mean, deviation)).double()
    noise = noises(batch.images).double()
    times = generator.path.sampling_times(40).double()
    (a, b), (a_last, b_last) = (generator.path.alpha_sigma(t[None]) for t in (times[0], times[-1]))
    away = (noise - a * mean) / (a**2 * deviation**2 + b**2).sqrt()
    x_last = a_last * mean + (a_last**2 * deviation**2 + b_last**2).sqrt() * away
    exact = gaussian(mean, deviation)(x_last, a_last, b_last, None)

    def error(steps):
        found = generator.denoise(noise, batch.conditions, SamplingConfig(steps=steps, sampler=sampler))
        return (found - exact).square().mean().sqrt()

    assert order - 0.35 < math.log2(error(40) / error(80)) < order + 1.2


def test_the_adaptive_solver_takes_long_steps_where_the_way_is_straight(tiny_generator_config):
    batch = a_batch()
    asked = {}
    for name, image in (("straight", lambda *_: batch.images), ("bent", gaussian(0.3, 0.4))):
        generator = knowing(tiny_generator_config, "flow", image)
        generator.denoise(noises(batch.images), batch.conditions, SamplingConfig(steps=100, sampler="adaptive"))
        asked[name] = len(generator.network.asked)
    assert asked["straight"] < asked["bent"] < 60


def test_the_adaptive_solver_is_as_near_as_it_says(tiny_generator_config):
    batch = a_batch()
    generator = knowing(tiny_generator_config, "flow", gaussian(0.3, 0.4))
    many, adaptive = (
        generator.denoise(noises(batch.images), batch.conditions, SamplingConfig(steps=steps, sampler=sampler))
        for steps, sampler in ((1000, "heun"), (100, "adaptive"))
    )
    assert (many - adaptive).square().mean().sqrt() < 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_row_is_drawn_alike_alone_and_beside_others(tiny_generator_config, sampler):
    """The rows' images differ in contrast, so that an adaptive step that looked at all would be another."""
    batch = a_batch(3)
    scale = torch.tensor([0.01, 0.3, 0.9])

    def drawn(rows):
        own = spread(scale[rows], batch.images[rows])
        generator = knowing(tiny_generator_config, "flow", lambda x_t, *_: (own * x_t).tanh())
        conditions = {name: one[rows] for name, one in batch.conditions.items()}
        chosen = SamplingConfig(steps=20, sampler=sampler)
        return generator.denoise(noises(batch.images)[rows], conditions, chosen)

    together = drawn(slice(0, 3))
    for row in range(3):
        torch.testing.assert_close(drawn(slice(row, row + 1))[0], together[row])
