"""The bound that a conditional VAE is trained by, and looks that are read off images and drawn again."""

import math

import pytest
import torch
from presets import batch_of, tiny_generator
from torch.distributions import Laplace, Normal, kl_divergence
from toy_batches import changed

from cmrfed.config import SamplingConfig
from cmrfed.generators import cvae
from cmrfed.generators.cvae import Gaussian
from cmrfed.generators.places import cosines, moments


@pytest.fixture(scope="module")
def generator():
    return tiny_generator("cvae")


def gaussian(seed, count=3, size=5):
    mean, log_variance = torch.randn(2, count, size, generator=torch.Generator().manual_seed(seed))
    return Gaussian(mean, log_variance)


def normal(one):
    return Normal(one.mean, (one.log_variance / 2).exp())


def test_the_divergence_is_that_of_torch_distributions():
    one, other = gaussian(0), gaussian(1)
    torch.testing.assert_close(one.divergence(other), kl_divergence(normal(one), normal(other)).sum(1))
    assert one.divergence(one).abs().max() < 1e-6


def test_a_product_is_proportional_to_both_densities_and_leaves_other_rows_alone():
    one, other = gaussian(0), gaussian(1)
    product = one.times(other, torch.tensor([True, True, False]))
    places = torch.linspace(-2, 2, 7)[:, None, None]
    apart = normal(one).log_prob(places) + normal(other).log_prob(places) - normal(product).log_prob(places)
    assert apart.std(dim=0)[:2].max() < 1e-4
    torch.testing.assert_close(product.mean[2], one.mean[2])
    torch.testing.assert_close(product.log_variance[2], one.log_variance[2])


def test_the_loss_is_the_negative_evidence_lower_bound_of_a_laplace_likelihood(generator):
    objective = generator.objective
    batch = objective.told(objective.drawn(batch_of(generator), torch.Generator().manual_seed(0)))
    posterior, prior = generator.posterior(batch.images, batch.conditions), generator.prior(batch.conditions)
    codes = posterior.mean + (posterior.log_variance / 2).exp() * batch.draws["noise"]
    mean = generator.decoder(generator.anatomy(batch.conditions), codes)
    likelihood = Laplace(mean, cvae.SCALE).log_prob(batch.images).flatten(1).sum(1)
    bound = likelihood - kl_divergence(normal(posterior), normal(prior)).sum(1)
    pixels = batch.images[0].numel()
    found = objective.losses(batch) * pixels / cvae.SCALE + pixels * math.log(2 * cvae.SCALE)
    torch.testing.assert_close(found, -bound, rtol=1e-4, atol=1e-2)


def test_a_look_is_read_off_an_image_and_drawn_with_another_mask(generator):
    batch = batch_of(generator)
    look = generator.domain_code(batch.images, batch.conditions)
    assert look.shape == (3, cvae.CODE)
    assert not torch.equal(look, generator.domain_code(-batch.images, batch.conditions))
    other = changed(batch, mask=(batch.masks + 1) % 4)
    one, again, moved = (generator.decode(look, of.conditions) for of in (batch, batch, other))
    assert torch.equal(one, again) and not torch.equal(one, moved)
    assert one.shape == batch.images.shape and one.abs().max() <= 1


def test_more_guidance_leads_further_from_what_nothing_is_told_of(generator):
    conditions = batch_of(generator).conditions
    none, once, twice = (
        generator.sample(conditions, SamplingConfig(guidance=guidance), torch.Generator().manual_seed(0))
        for guidance in (0.0, 1.0, 1.5)
    )
    inside = twice.abs() < 1
    torch.testing.assert_close((twice - once)[inside], ((once - none) / 2)[inside], rtol=1e-3, atol=1e-4)


def test_cosines_are_orthogonal_on_any_grid_and_moments_find_them_again():
    for grid in ((16, 16), (8, 12)):
        waves = cosines(grid, 4, torch.zeros(1))
        products = waves.flatten(1) @ waves.flatten(1).T
        assert (products - products.diag().diag()).abs().max() < 1e-3
        found = moments(3 * waves[None, [5]], 4)[0]
        assert int(found.abs().argmax()) == 5 and (found.abs() > 1e-4).sum() == 1
