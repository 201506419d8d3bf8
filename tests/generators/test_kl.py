"""The space that an autoencoder makes of images: unit latents, decided by the image alone, learnt in its own stage."""

from itertools import product

import pytest
import torch
from scipy.fft import dctn, idctn
from toy_batches import a_batch, without_zeros

from cmrfed.batches import Batch
from cmrfed.config import GeneratorConfig
from cmrfed.generators import build_generator
from cmrfed.generators.kl import EDGES, KL, LARGEST, KLSpace

CONFIG = GeneratorConfig(channels=(8, 8), norm_groups=4, space="kl", patch=1, latent_channels=3, trainable="all")


def a_space(**changes):
    torch.manual_seed(0)
    return KLSpace(CONFIG.model_copy(update=changes))


def test_at_first_latents_are_the_lowest_waves_of_each_patch_of_unit_size_and_decode_to_what_these_say():
    """A patch's mean and the two waves of half a period, as SciPy has them; beside them the networks are silent."""
    space, images = a_space(), a_batch(3).images - 0.5
    latents = space.encode(images)
    assert latents.shape == (3, 3, 4, 4) and 0.5 < latents.square().mean().sqrt() < 2
    decoded = space.decode(latents)
    for row, column in product(range(4), range(4)):
        own = ..., slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4)
        waves = torch.from_numpy(dctn(images[own][:, 0].numpy(), axes=(1, 2), norm="ortho"))
        found = torch.stack([(waves[:, 0, 0] + 2) / 1.5, waves[:, 0, 1] / 0.5, waves[:, 1, 0] / 0.5], dim=1)
        found = LARGEST * (found / LARGEST).tanh()
        torch.testing.assert_close(latents[..., row, column], found, rtol=1e-4, atol=1e-5)
        said = torch.zeros(3, 4, 4)
        said[:, 0, 0], said[:, 0, 1], said[:, 1, 0] = found[:, 0] * 1.5 - 2, found[:, 1] * 0.5, found[:, 2] * 0.5
        expected = torch.from_numpy(idctn(said.numpy(), axes=(1, 2), norm="ortho"))
        torch.testing.assert_close(decoded[own][:, 0], expected, rtol=1e-4, atol=1e-5)


def test_however_bright_an_image_its_latents_are_bounded():
    assert a_space().encode(torch.full((1, 1, 3, 16, 16), 100.0)).abs().max() <= LARGEST


def test_a_stack_is_encoded_slice_by_slice():
    space, images = a_space(), a_batch(2, (3, 16, 16)).images
    latents = space.encode(images)
    assert latents.shape == (2, 3, 3, 4, 4)
    for level in range(3):
        torch.testing.assert_close(latents[:, :, level], space.encode(images[:, :, level]))
        torch.testing.assert_close(space.decode(latents)[:, :, level], space.decode(latents[:, :, level]))


def test_the_loss_is_of_pixels_and_edges_and_the_divergence_of_the_posterior():
    space = without_zeros(a_space())
    (objective,) = space.objectives
    batch = objective.drawn(a_batch(2), torch.Generator().manual_seed(3))
    x, e = batch.images, batch.draws["noises"]
    assert e.shape == (2, 3, 4, 4)
    m, s = space.posterior(x)
    made = space.decode(m + s * e)
    posterior, prior = torch.distributions.Normal(m, s), torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(posterior, prior)
    across, down = ((x - made)[..., 1:] - (x - made)[..., :-1]), (x - made)[..., 1:, :] - (x - made)[..., :-1, :]
    for row, loss in enumerate(objective.losses(batch)):
        edges = across[row].abs().mean() + down[row].abs().mean()
        expected = (x - made)[row].abs().mean() + EDGES * edges + KL * divergence[row].mean()
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("autoencoder", "stages"), [("public", {"reconstruction": None, "denoising": 0}), ("private", None)]
)
def test_patients_teach_the_space_before_the_path_or_never(autoencoder, stages):
    generator = build_generator(CONFIG.model_copy(update={"autoencoder": autoencoder}), seed=0)
    found = {one.name: one.stage for one in generator.objectives}
    assert found == (stages or {"reconstruction": 0, "denoising": 1})
    assert {one.name: one.private for one in generator.objectives} == {
        "reconstruction": autoencoder == "private",
        "denoising": True,
    }
    assert generator.objective.name == ("reconstruction" if autoencoder == "private" else "denoising")


def test_the_path_runs_among_means_and_does_not_teach_the_space():
    generator = without_zeros(build_generator(CONFIG, seed=0))
    batch = generator.objective.drawn(a_batch(2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(batch.images, generator.space.encode(a_batch(2).images))
    assert not batch.images.requires_grad


def test_a_few_steps_teach_it_what_waves_alone_do_not_say():
    """A disc's edge: the loss falls to less than half of what it is before anything is learnt."""
    space = a_space()
    (objective,) = space.objectives
    grid = torch.linspace(-1, 1, 16)
    disc = (grid[:, None] ** 2 + grid**2 < 0.4).float()[None, None] * 1.5 - 0.8
    optimizer = torch.optim.Adam(objective.weights(), lr=5e-3)
    random, losses = torch.Generator().manual_seed(0), []
    for _ in range(100):
        loss = objective.losses(objective.drawn(Batch(disc, {}, {}), random)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("latents", [1, 4, 20])
def test_any_number_of_latents_will_do(latents):
    images = a_batch(2).images
    space = a_space(latent_channels=latents)
    assert space.encode(images).shape == (2, latents, 4, 4)
    assert space.decode(space.encode(images)).shape == images.shape
