"""What a network predicts, as noise and image, whatever its family: against data whose best prediction is known."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.schedulers import DDIMScheduler
from torch import nn

from cmrfed.config import GeneratorConfig
from cmrfed.generators import FAMILIES, Draws, build_generator

MEAN, VARIANCE = 0.3, 0.25


class GaussianOracle(nn.Module):
    """The best prediction there is for images whose pixels are independent N(MEAN, VARIANCE)."""

    def __init__(self, generator):
        super().__init__()
        self.scales, self.family = generator.scales, generator.config.family

    def parts(self, x_t, t):
        signal, noise = (scale[:, None, None, None] for scale in self.scales(t))
        surprise = (x_t - signal * MEAN) / (signal**2 * VARIANCE + noise**2)
        return MEAN + signal * VARIANCE * surprise, noise * surprise

    def forward(self, x_t, t, masks, conditions, kept):
        image, noise = self.parts(x_t, t)
        return noise if self.family == "ddpm" else image - noise


@pytest.fixture(params=sorted(FAMILIES))
def generator(request, tiny_generator_config):
    built = build_generator(tiny_generator_config.model_copy(update={"family": request.param}), seed=1)
    built.network = GaussianOracle(built)
    return built


def batch(count=4, size=8):
    stream = torch.Generator().manual_seed(0)
    images = MEAN + VARIANCE**0.5 * torch.randn(count, 1, size, size, generator=stream)
    noises = torch.randn(images.shape, generator=stream)
    masks, conditions = torch.zeros(count, size, size, dtype=torch.int64), torch.zeros(count, 2, dtype=torch.int64)
    return images, noises, (masks, conditions, torch.ones(count, dtype=torch.bool))


def at(generator, share, count=4):
    return torch.full((count,), generator.time_at(share))


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1), family=st.sampled_from(sorted(FAMILIES)))
def test_the_time_of_a_noise_share_has_that_share(share, family):
    generator = build_generator(GeneratorConfig(family=family, channels=(8,), norm_groups=4), seed=0)
    signal, noise = generator.scales(torch.tensor([generator.time_at(share)]))
    assert float(noise / (signal + noise)) == pytest.approx(share, abs=0.01)  # DDPM has a thousand levels


def test_the_same_images_and_noises_are_corrupted_as_the_loss_corrupts_them(generator):
    images, noises, rest = batch()
    met = []
    generator.network.register_forward_pre_hook(lambda _, inputs: met.append(inputs[0]))
    t = at(generator, 0.37)
    generator.losses(images, rest[0], rest[1], Draws(t, noises, rest[2]))
    torch.testing.assert_close(generator.corrupt(images, noises, t), met[0])


def test_parts_are_the_best_prediction_and_make_up_the_input_again(generator):
    images, noises, rest = batch()
    for share in (0.05, 0.4, 0.9):
        t = at(generator, share)
        x_t = generator.corrupt(images, noises, t)
        found, (image, noise) = generator.predicted_parts(x_t, t, *rest), generator.network.parts(x_t, t)
        torch.testing.assert_close(found.image, image, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.noise, noise, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(generator.corrupt(found.image, found.noise, t), x_t, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(generator.predicted_noise(x_t, t, *rest), found.noise)


def test_small_steps_follow_the_exact_flow_of_gaussian_data_both_ways(generator):
    """Along it (x_t - signal MEAN) / std(x_t) stays what it is."""
    images, _, rest = batch()
    shares = [0.1 + 0.6 * step / 60 for step in range(61)]

    def standardised(x_t, share):
        signal, noise = (float(scale[0]) for scale in generator.scales(at(generator, share)))
        return (x_t - signal * MEAN) / (signal**2 * VARIANCE + noise**2) ** 0.5

    x_t = start = generator.corrupt(images, torch.zeros_like(images), at(generator, shares[0]))
    for path in (shares, shares[::-1]):
        for share, following in pairwise(path):
            x_t = generator.carried(x_t, at(generator, share), at(generator, following), *rest)
        torch.testing.assert_close(standardised(x_t, path[-1]), standardised(start, shares[0]), rtol=0.03, atol=0.03)


def test_a_flows_step_is_eulers(tiny_generator_config):
    flow = build_generator(tiny_generator_config, seed=1)
    flow.network = GaussianOracle(flow)
    x_t, _, rest = batch()
    t, to = torch.full((4,), 0.6), torch.full((4,), 0.45)
    expected = x_t + (0.45 - 0.6) * flow.network(x_t, t, *rest)
    torch.testing.assert_close(flow.carried(x_t, t, to, *rest), expected)


def test_a_ddpms_step_is_that_of_monais_ddim_scheduler(tiny_generator_config):
    ddpm = build_generator(tiny_generator_config.model_copy(update={"family": "ddpm"}), seed=1)
    ddpm.network = GaussianOracle(ddpm)
    x_t, _, rest = batch()
    schedule = DDIMScheduler(num_train_timesteps=1000, clip_sample=False)
    schedule.set_timesteps(10)
    level = schedule.timesteps[3].item()
    t, to = (torch.full((4,), one / 999) for one in (level, level - 1000 // 10))  # as MONAI's step steps
    expected, _ = schedule.step(ddpm.network(x_t, t, *rest), level, x_t)
    torch.testing.assert_close(ddpm.carried(x_t, t, to, *rest), expected, rtol=1e-4, atol=1e-5)
