"""Paths from noise to image: each says of an image and a noise what their papers say, and undoes it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_batches import PATHS, Oracle, a_batch, drawn

from cmrfed.config import SamplingConfig
from cmrfed.generators import Parts, build_generator
from cmrfed.generators.ddpm import TRAINING_STEPS
from cmrfed.generators.edm import SIGMA_DATA
from cmrfed.members import FAMILIES


def denoiser(config, family):
    return build_generator(config.model_copy(update={"family": family}), seed=0)


def noises(images):
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=30, deadline=None)
@given(family=st.sampled_from(PATHS), t=st.floats(0.01, 0.99))
def test_a_prediction_is_the_parts_that_it_was_made_of(family, t):
    path, images = FAMILIES.load(family)(), a_batch(2, (4, 4)).images
    parts, times = Parts(images, noises(images)), torch.full((2,), t)
    found = path.to_x0_eps(path.target(parts, times), path.corrupt(parts, times), times)
    torch.testing.assert_close(found.image, parts.image, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.noise, parts.noise, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", PATHS)
def test_training_times_are_times_and_a_sampler_goes_from_noise_to_image(family):
    path = FAMILIES.load(family)()
    times = path.draw_times(1000, torch.Generator().manual_seed(0))
    assert ((times >= 0) & (times <= 1)).all()
    shares = [
        float(noise / (signal + noise))
        for signal, noise in (path.alpha_sigma(t[None]) for t in path.sampling_times(10))
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.9 and shares[-1] < 0.15


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_whoever_knows_the_image_is_carried_to_it_in_any_number_of_steps(tiny_generator_config, family, steps):
    generator, batch = denoiser(tiny_generator_config, family), a_batch()
    generator.network = Oracle(generator, lambda x_t, signal, noise, conditions: batch.images)
    found = generator.denoise(noises(batch.images), batch.conditions, SamplingConfig(steps=steps))
    assert len(generator.network.asked) == len(generator.path.sampling_times(steps)) <= steps
    torch.testing.assert_close(found, batch.images, rtol=0, atol=1e-5 if family == "flow" else 1e-3)


@pytest.mark.parametrize("steps", [1, 2, 10, 20, 1000])
def test_a_flow_is_not_asked_after_nine_tenths_of_its_way(steps):
    times = FAMILIES.load("flow")().sampling_times(steps).tolist()
    assert times == pytest.approx([step / steps for step in range(steps) if step / steps <= 0.9])


@pytest.mark.parametrize("steps", [3, 10, 50])
def test_ddim_asks_the_network_at_the_noise_level_that_its_step_before_came_to(tiny_generator_config, steps):
    ddpm, batch = denoiser(tiny_generator_config, "ddpm"), a_batch()
    oracle = ddpm.network = Oracle(ddpm, lambda x_t, signal, noise, conditions: batch.images)
    ddpm.denoise(noises(batch.images), batch.conditions, SamplingConfig(steps=steps))
    # a step keeps the noise that was predicted, so whoever knows the image must find the same noise at each level
    said = [oracle.parts(x_t, t, conditions).noise for x_t, t, conditions in oracle.asked]
    levels = [float(t[0]) * (TRAINING_STEPS - 1) for _, t, _ in oracle.asked]
    assert levels == pytest.approx([round(level) for level in levels], abs=1e-2)
    for noise in said[1:]:
        assert torch.allclose(noise, said[0], atol=2e-3)


def test_flow_loss_is_the_papers_equation(tiny_generator_config):
    flow = denoiser(tiny_generator_config, "flow")
    batch = drawn(flow, a_batch())
    images, noise, times = batch.images, batch.draws["noises"], batch.draws["times"]
    t = times[:, None, None, None]
    velocity = flow.network(t * images + (1 - t) * noise, times, batch.conditions)
    expected = ((velocity - (images - noise)) ** 2).mean(dim=(1, 2, 3))
    torch.testing.assert_close(flow.objective.losses(batch), expected)


def test_ddpm_loss_is_the_papers_equation(tiny_generator_config):
    ddpm = denoiser(tiny_generator_config, "ddpm")
    batch = drawn(ddpm, a_batch())
    images, noise, times = batch.images, batch.draws["noises"], batch.draws["times"]
    betas = torch.linspace(1e-4, 2e-2, TRAINING_STEPS, dtype=torch.float64)
    a_t = (1 - betas).cumprod(0)[(times * (TRAINING_STEPS - 1)).round().long()].float()[:, None, None, None]
    predicted = ddpm.network(a_t.sqrt() * images + (1 - a_t).sqrt() * noise, times, batch.conditions)
    expected = ((predicted - noise) ** 2).mean(dim=(1, 2, 3))
    torch.testing.assert_close(ddpm.objective.losses(batch), expected, rtol=1e-3, atol=1e-4)


def test_edm_loss_is_the_papers_equation(tiny_generator_config):
    """lambda(sigma) |D(y; sigma) - x|^2 with D = c_skip y + c_out F(c_in y), table 1 of Karras et al."""
    edm = denoiser(tiny_generator_config, "edm")
    batch = drawn(edm, a_batch())
    images, noise, times = batch.images, batch.draws["noises"], batch.draws["times"]
    signal, scale = edm.alpha_sigma(times)
    sigma = (scale / signal)[:, None, None, None]
    y, size = images + sigma * noise, (sigma**2 + SIGMA_DATA**2).sqrt()
    c_skip, c_out, c_in = SIGMA_DATA**2 / size**2, sigma * SIGMA_DATA / size, 1 / size
    denoised = c_skip * y + c_out * edm.network(c_in * y, times, batch.conditions)
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    expected = (weight * (denoised - images) ** 2).mean(dim=(1, 2, 3))
    torch.testing.assert_close(edm.objective.losses(batch), expected, rtol=1e-3, atol=1e-4)


def test_edms_levels_are_karras_from_80_to_0_002():
    path = FAMILIES.load("edm")()
    sigmas = [float(noise / signal) for signal, noise in (path.alpha_sigma(t[None]) for t in path.sampling_times(5))]
    steps = [(80 ** (1 / 7) + i / 4 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(5)]
    assert sigmas == pytest.approx(steps, rel=1e-3)


def test_edms_training_levels_are_lognormal():
    path = FAMILIES.load("edm")()
    signal, noise = path.alpha_sigma(path.draw_times(20_000, torch.Generator().manual_seed(0)))
    logs = (noise / signal).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.05)
    assert float(logs.std()) == pytest.approx(1.2, abs=0.05)
