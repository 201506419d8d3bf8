"""Stacks drawn with their masks: what is given is kept, what is not is drawn, what nobody labelled costs nothing."""

import pytest
import torch
from toy_batches import a_batch, without_zeros

from cmrfed.batches import Batch
from cmrfed.conditions import UNLABELLED
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.generators import Parts, build_generator

GRID = (3, 16, 16)
CONFIG = GeneratorConfig(
    family="volume", network="unet3d", levels=3, conditions=("vendor",), channels=(8, 8), norm_groups=4, trainable="all"
)
SAMPLING = SamplingConfig(steps=4)


@pytest.fixture(params=["pixel", "kl"])
def generator(request):
    changes = {"space": request.param} | ({"patch": 1} if request.param == "kl" else {})
    return without_zeros(build_generator(CONFIG.model_copy(update=changes), seed=0))


def sampled(generator, conditions, sampler="euler"):
    chosen = SAMPLING.model_copy(update={"sampler": sampler})
    return generator.sample_with_masks(conditions, chosen, torch.Generator().manual_seed(1))


def half_labelled(batch):
    masks = batch.masks.clone()
    masks[:, :, :8] = UNLABELLED
    return batch._replace(conditions=batch.conditions | {"mask": masks})


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_solver", "adaptive"])
def test_a_mask_that_is_given_is_the_one_that_is_drawn_and_the_rest_is_drawn_too(generator, sampler):
    batch = half_labelled(a_batch(2, GRID))
    images, masks = sampled(generator, batch.conditions, sampler)
    assert images.shape == (2, 1, *GRID) and masks.shape == (2, *GRID)
    given = batch.masks != UNLABELLED
    assert torch.equal(masks[given], batch.masks[given])
    assert masks.max() < 4 and masks[~given].unique().numel() > 1
    assert torch.equal(images, generator.sample(batch.conditions, SAMPLING, torch.Generator().manual_seed(1))) == (
        sampler == "euler"
    )


def test_what_the_network_is_asked_of_a_given_mask_is_what_training_made_of_it(generator, monkeypatch):
    """signal y + noise e at every time, with the e that the path began from."""
    batch, asked = half_labelled(a_batch(2, GRID)), []
    noises = generator.noises(batch.masks, torch.Generator().manual_seed(1))
    predict = generator.predict

    def overheard(x_t, t, conditions, guidance=1.0):
        asked.append((x_t, t))
        return predict(x_t, t, conditions, guidance)

    monkeypatch.setattr(generator, "predict", overheard)
    generator.denoise(noises, batch.conditions, SAMPLING)
    clean = generator.encoded(batch)
    known = clean != 0
    known[:, : generator.space.channels] = False
    assert len(asked) == 4 and known.any()
    for x_t, t in asked:
        torch.testing.assert_close(x_t[known], generator.path.corrupt(Parts(clean, noises), t)[known])


def test_masks_are_channels_of_one_and_minus_one_and_of_zero_where_nothing_is_labelled():
    generator, batch = build_generator(CONFIG, seed=0), half_labelled(a_batch(2, GRID))
    latents = generator.encoded(batch)
    assert torch.equal(latents[:, :1], batch.images)
    for label in range(4):
        channel = latents[:, 1 + label]
        assert (channel[batch.masks == label] == 1).all()
        assert (channel[(batch.masks != label) & (batch.masks != UNLABELLED)] == -1).all()
        assert not channel[batch.masks == UNLABELLED].any()


def test_the_loss_is_the_images_and_the_masks_over_what_is_labelled():
    generator = build_generator(CONFIG, seed=0)
    batch = half_labelled(a_batch(2, GRID))
    latents = generator.encoded(batch)
    random = torch.Generator().manual_seed(0)
    off = torch.randn(latents.shape, generator=random)
    labelled = (batch.masks != UNLABELLED)[:, None].expand(-1, 4, -1, -1, -1)
    for row, found in enumerate(generator.error(latents + off, latents, latents)):
        image, mask = off[row, :1].square().mean(), off[row, 1:][labelled[row]].square().mean()
        torch.testing.assert_close(found, (image + mask) / 2)


def test_what_is_not_labelled_teaches_nothing_of_masks():
    """Nobody's labels: the loss is the image's alone, and finite."""
    generator = without_zeros(build_generator(CONFIG, seed=0))
    batch = a_batch(2, GRID)
    nothing = Batch(batch.images, batch.conditions | {"mask": torch.full_like(batch.masks, UNLABELLED)}, {})
    latents = generator.encoded(nothing)
    off = torch.zeros_like(latents)
    off[:, 1:] = 7.0
    assert not generator.error(latents + off, latents, latents).any()


def test_the_mask_is_no_condition_of_it_and_is_refused_as_one():
    with pytest.raises(UserError, match=r"^generator.conditions: a volume's mask is drawn, .*leave out mask$"):
        build_generator(CONFIG.model_copy(update={"conditions": ("mask", "vendor")}), seed=0)


def test_it_draws_slices_by_themselves_as_well():
    flat = CONFIG.model_copy(update={"network": "unet", "levels": 1})
    images, masks = sampled(without_zeros(build_generator(flat, seed=0)), a_batch(2).conditions)
    assert images.shape == (2, 1, 16, 16) and masks.shape == (2, 16, 16)
