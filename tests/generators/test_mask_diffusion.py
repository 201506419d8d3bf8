"""Masks in a stage of their own, images in the next; and an image of a mask that was drawn where none is given."""

import pytest
import torch
from presets import batch_of, tiny_generator, tiny_preset
from toy_batches import changed

from cmrfed.conditions import UNLABELLED
from cmrfed.config import SamplingConfig, UserError
from cmrfed.generators import build_generator
from cmrfed.generators.mask_diffusion import OneHot

SAMPLING = SamplingConfig(steps=3)


@pytest.fixture(scope="module")
def generator():
    return tiny_generator("mask_diffusion")


def drawn(objective, batch):
    return objective.told(objective.drawn(batch, torch.Generator().manual_seed(0)))


def test_masks_are_one_hot_and_come_back(generator):
    masks = batch_of(generator).masks[:, None].float()
    latents = OneHot(generator.config).encode(masks)
    assert latents.shape == (3, 4, 16, 16)
    assert torch.equal(latents.sum(1), torch.full((3, 16, 16), -2.0)) and set(latents.unique().tolist()) == {-1, 1}
    assert torch.equal(OneHot(generator.config).decode(latents), masks)


def test_classes_of_tissue_have_channels_of_their_own():
    assert tiny_generator("mask_diffusion", tissue_classes=2).masks.space.channels == 6


def test_the_first_stage_learns_masks_and_looks_at_no_image(generator):
    masks, images = generator.objectives
    assert (masks.stage, images.stage) == (0, 1)
    batch = batch_of(generator)
    other = batch._replace(images=-batch.images)
    assert torch.equal(masks.losses(drawn(masks, batch)), masks.losses(drawn(masks, other)))
    assert not torch.equal(images.losses(drawn(images, batch)), images.losses(drawn(images, other)))


def test_the_loss_of_masks_is_the_flows(generator):
    objective = generator.objectives[0]
    batch = drawn(objective, batch_of(generator))
    x_1, x_0, t = (
        2 * torch.nn.functional.one_hot(batch.masks, 4).movedim(-1, 1) - 1.0,
        *(batch.draws[name] for name in ("noises", "times")),
    )
    x_t = t[:, None, None, None] * x_1 + (1 - t[:, None, None, None]) * x_0
    v = generator.masks.network(x_t, t, batch.conditions)
    torch.testing.assert_close(objective.losses(batch), (v - (x_1 - x_0)).square().flatten(1).mean(1))


def test_a_mask_that_is_not_wholly_labelled_teaches_nothing_and_disturbs_nobody(generator):
    objective, batch = generator.objectives[0], batch_of(generator)
    partly = batch.masks.clone()
    partly[1, :3] = UNLABELLED
    whole, losses = (objective.losses(drawn(objective, one)) for one in (batch, changed(batch, mask=partly)))
    assert losses[1] == 0 and whole[1] > 0
    torch.testing.assert_close(losses[[0, 2]], whole[[0, 2]])


def test_where_no_mask_is_given_an_image_is_of_the_mask_that_is_drawn(generator):
    batch = batch_of(generator)
    nothing = batch.masks.clone()
    nothing[[0, 2]] = UNLABELLED
    given = batch.conditions | {"mask": nothing}
    masks = generator.sample_masks(given, SAMPLING, torch.Generator().manual_seed(3))
    assert masks.shape == nothing.shape and set(masks.unique().tolist()) <= {0, 1, 2, 3}
    masks[1] = nothing[1]
    images, known = (
        generator.sample(one, SAMPLING, torch.Generator().manual_seed(3))
        for one in (given, batch.conditions | {"mask": masks})
    )
    torch.testing.assert_close(images, known)


def test_masks_follow_what_is_told_of_the_whole_image_and_not_the_mask_that_is_given(generator):
    conditions = batch_of(generator).conditions
    draws = [
        generator.masks.denoise(torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0)), one, SAMPLING)
        for one in (
            conditions,
            conditions | {"mask": (conditions["mask"] + 1) % 4},
            conditions | {"phase": 1 - conditions["phase"]},
        )
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_without_the_mask_among_its_conditions_it_is_refused():
    with pytest.raises(UserError, match=r"^generator.conditions: .*name mask"):
        build_generator(tiny_preset("mask_diffusion", conditions=["vendor"]), seed=0)
