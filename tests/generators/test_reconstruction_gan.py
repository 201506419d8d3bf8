"""Painting from k-space: which lines are kept, what they show, and that neither network's loss moves the other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from presets import batch_of, tiny_generator

from cmrfed.config import SamplingConfig
from cmrfed.generators.gans.adversarial import mean_of
from cmrfed.generators.gans.reconstruction import FREQUENCIES, PIXELS, distance_in_k_space, kept_lines, zero_filled


@pytest.fixture(scope="module")
def gan():
    return tiny_generator("reconstruction_gan")


def drawn(gan, count=3, seed=3):
    objective = gan.objective
    return objective.told(objective.drawn(batch_of(gan, count), torch.Generator().manual_seed(seed)))


def test_about_one_line_in_acceleration_is_kept_and_the_centre_always():
    numbers = torch.rand(2000, 64, generator=torch.Generator().manual_seed(0))
    for acceleration in (2.0, 4.0, 8.0):
        lines = kept_lines(torch.full((2000,), acceleration), numbers)
        assert lines[:, 31:34].all()
        assert float(lines.float().mean()) == pytest.approx(1 / acceleration, rel=0.25)
        assert float(lines[:, :8].float().mean()) < float(lines[:, 24:32].float().mean())


def test_what_some_lines_show_is_the_inverse_transform_of_these_alone():
    images = batch_of(tiny_generator("reconstruction_gan")).images
    lines = kept_lines(torch.tensor([2.0, 4.0, 8.0]), torch.rand(3, 16, generator=torch.Generator().manual_seed(1)))
    shown = zero_filled(images, lines)
    for row in range(3):
        k_space = np.fft.fftshift(np.fft.fft2(images[row, 0].double().numpy()))
        k_space[~lines[row].numpy()] = 0
        np.testing.assert_allclose(shown[row, 0], np.fft.ifft2(np.fft.ifftshift(k_space)).real, atol=1e-5)
    torch.testing.assert_close(zero_filled(images, torch.ones(3, 16, dtype=torch.bool)), images)


def test_some_rows_have_no_line_and_the_others_a_source(gan):
    source = drawn(gan, 200).conditions["source_image"]
    without = source.isnan().flatten(1)
    assert (without.all(1) == without.any(1)).all()
    assert 0.35 < float(without.all(1).float().mean()) < 0.65


def test_the_loss_is_of_the_game_of_pixels_and_of_k_space_and_neither_network_moves_the_other(gan):
    batch = drawn(gan)
    painted = gan.painted(batch.draws["noise"], batch.conditions, 0)
    apart = F.l1_loss(painted, batch.images, reduction="none").flatten(1).mean(1)
    k_space = torch.fft.fft2(painted, norm="ortho") - torch.fft.fft2(batch.images, norm="ortho")
    torch.testing.assert_close(distance_in_k_space(painted, batch.images), k_space.abs().flatten(1).mean(1))
    own = mean_of(lambda score: -F.logsigmoid(score), gan.judged(painted, batch.conditions, 0))
    of_painter = own + PIXELS * apart + FREQUENCIES * k_space.abs().flatten(1).mean(1)
    of_critic = gan.objective.criticism(batch, batch.conditions, painted.detach())
    losses = gan.objective.losses(batch)
    torch.testing.assert_close(losses, of_painter + of_critic)
    for network, loss in ((gan.painter, of_painter), (gan.critic, of_critic)):
        weights = list(network.parameters())
        found, expected = (
            torch.autograd.grad(one.sum(), weights, allow_unused=True, materialize_grads=True, retain_graph=True)
            for one in (losses, loss)
        )
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_sampling_sees_some_lines_of_a_known_image_and_none_of_an_unknown_one(gan):
    conditions = batch_of(gan).conditions
    noise = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    unknown = torch.full_like(conditions["source_image"], torch.nan)
    missing = {name: one for name, one in conditions.items() if name != "source_image"}
    sampled = [gan.sample(one, SamplingConfig(), torch.Generator().manual_seed(0)) for one in (conditions, missing)]
    assert torch.equal(sampled[1], gan.painted(noise, conditions | {"source_image": unknown}, 0))
    assert not torch.equal(sampled[0], sampled[1])
    assert not torch.equal(sampled[0], gan.painted(noise, conditions, 0)), "the whole image is not shown"
