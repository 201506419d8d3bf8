"""Stacks: each slice follows its own mask, all share a style, and the critic looks across levels."""

import pytest
import torch
from presets import batch_of, tiny_generator

from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators import build_generator


@pytest.fixture(scope="module")
def gan():
    return tiny_generator("volume_gan", levels=3)


def test_a_slice_follows_the_mask_of_its_level_alone(gan):
    conditions = batch_of(gan).conditions
    masks = conditions["mask"].clone()
    masks[:, 1] = (masks[:, 1] + 1) % 4
    noise = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    one, other = (gan.painted(noise, conditions | {"mask": mask}, 0) for mask in (conditions["mask"], masks))
    same = (one == other).flatten(3).all(3)[:, 0].all(0)
    assert same.tolist() == [True, False, True]


def test_a_critic_knows_slices_in_another_order(gan):
    batch = batch_of(gan)
    turned = batch.images.roll(1, dims=2)
    masks = batch.conditions | {"mask": torch.zeros_like(batch.masks)}
    (one,), (other,) = (gan.judged(images, masks, 0) for images in (batch.images, turned))
    assert not torch.allclose(one.mean(1), other.mean(1), rtol=1e-6, atol=0)


def test_of_slices_there_is_no_stack():
    with pytest.raises(UserError, match=r"^generator.levels: family volume_gan paints stacks"):
        build_generator(GeneratorConfig(family="volume_gan", trainable="all"), seed=0)
