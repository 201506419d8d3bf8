"""What a network predicts, as noise and image, whatever its path: against data whose best prediction is known."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.schedulers import DDIMScheduler
from toy_batches import PATHS, Oracle, a_batch

from cmrfed.config import GeneratorConfig
from cmrfed.generators import Denoiser, build_generator

MEAN, VARIANCE = 0.3, 0.25
CONDITIONS = a_batch(4, (8, 8)).conditions


def gaussian(x_t, signal, noise, conditions):
    """The best guess of images whose pixels are independent N(MEAN, VARIANCE)."""
    return MEAN + signal * VARIANCE * (x_t - signal * MEAN) / (signal**2 * VARIANCE + noise**2)


def with_oracle(config, family):
    built = build_generator(config.model_copy(update={"family": family}), seed=1)
    built.network = Oracle(built, gaussian)
    return built


@pytest.fixture(params=PATHS)
def generator(request, tiny_generator_config):
    return with_oracle(tiny_generator_config, request.param)


def hearts(count=4, size=8):
    stream = torch.Generator().manual_seed(0)
    images = MEAN + VARIANCE**0.5 * torch.randn(count, 1, size, size, generator=stream)
    return images, torch.randn(images.shape, generator=stream)


def at(generator, share, count=4):
    return torch.full((count,), generator.time_at(share))


def test_every_path_has_a_noise_view(tiny_generator_config):
    for family in PATHS:
        assert isinstance(build_generator(tiny_generator_config.model_copy(update={"family": family}), 0), Denoiser)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1), family=st.sampled_from(PATHS))
def test_the_time_of_a_noise_share_has_that_share(share, family):
    generator = build_generator(GeneratorConfig(family=family, channels=(8,), norm_groups=4), seed=0)
    signal, noise = generator.alpha_sigma(torch.tensor([generator.time_at(share)]))
    first, last = (generator.alpha_sigma(torch.tensor([end])) for end in (0.0, 1.0))
    ends = sorted(float(scale / (part + scale)) for part, scale in (first, last))
    reachable = min(max(share, ends[0]), ends[-1])  # EDM ends at sigma 80
    assert float(noise / (signal + noise)) == pytest.approx(reachable, abs=0.01)  # DDPM has a thousand levels


def test_the_same_images_and_noises_are_corrupted_as_the_loss_corrupts_them(generator):
    images, noises = hearts()
    t = at(generator, 0.37)
    generator.losses_at(images, noises, t, CONDITIONS)
    torch.testing.assert_close(generator.corrupt(images, noises, t), generator.network.asked[-1][0])


def test_parts_are_the_best_prediction_and_make_up_the_input_again(generator):
    images, noises = hearts()
    for share in (0.05, 0.4, 0.9):
        t = at(generator, share)
        x_t = generator.corrupt(images, noises, t)
        found, best = generator.predict_x0_eps(x_t, t, CONDITIONS), generator.network.parts(x_t, t, CONDITIONS)
        torch.testing.assert_close(found.image, best.image, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.noise, best.noise, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(generator.corrupt(found.image, found.noise, t), x_t, rtol=1e-4, atol=1e-4)


def test_small_steps_follow_the_exact_flow_of_gaussian_data_both_ways(generator):
    """Along it (x_t - signal MEAN) / std(x_t) stays what it is."""
    images, _ = hearts()
    shares = [0.1 + 0.6 * step / 60 for step in range(61)]

    def standardised(x_t, share):
        signal, noise = (float(scale[0]) for scale in generator.alpha_sigma(at(generator, share)))
        return (x_t - signal * MEAN) / (signal**2 * VARIANCE + noise**2) ** 0.5

    x_t = start = generator.corrupt(images, torch.zeros_like(images), at(generator, shares[0]))
    for path in (shares, shares[::-1]):
        for share, following in pairwise(path):
            x_t = generator.ddim_step(x_t, at(generator, share), at(generator, following), CONDITIONS)
        torch.testing.assert_close(standardised(x_t, path[-1]), standardised(start, shares[0]), rtol=0.03, atol=0.03)


def test_a_flows_step_is_eulers(tiny_generator_config):
    flow, (x_t, _) = with_oracle(tiny_generator_config, "flow"), hearts()
    t, to = torch.full((4,), 0.6), torch.full((4,), 0.45)
    expected = x_t + (0.45 - 0.6) * flow.network(x_t, t, CONDITIONS)
    torch.testing.assert_close(flow.ddim_step(x_t, t, to, CONDITIONS), expected)


def test_a_ddpms_step_is_that_of_monais_ddim_scheduler(tiny_generator_config):
    ddpm, (x_t, _) = with_oracle(tiny_generator_config, "ddpm"), hearts()
    schedule = DDIMScheduler(num_train_timesteps=1000, clip_sample=False)
    schedule.set_timesteps(10)
    level = schedule.timesteps[3].item()
    t, to = (torch.full((4,), one / 999) for one in (level, level - 1000 // 10))  # as MONAI's step steps
    expected, _ = schedule.step(ddpm.network(x_t, t, CONDITIONS), level, x_t)
    torch.testing.assert_close(ddpm.ddim_step(x_t, t, to, CONDITIONS), expected, rtol=1e-4, atol=1e-5)
