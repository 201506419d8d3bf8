"""Progressive growing: a stage for each level, which begins where the one before ended."""

import pytest
import torch
from presets import batch_of, tiny_generator, tiny_preset

from cmrfed.config import SamplingConfig
from cmrfed.generators import build_generator
from cmrfed.generators.gans.layers import smoothly_stretched

WIDTHS = {"channels": [8, 8, 8], "patch": 1}


@pytest.fixture
def untrained():
    return build_generator(tiny_preset("progressive_gan", **WIDTHS), seed=1)


def noise(rows=3):
    return torch.randn(rows, 64, generator=torch.Generator().manual_seed(0))


def test_each_stage_sees_and_paints_images_of_twice_the_side(untrained):
    batch = batch_of(untrained)
    assert untrained.stages == 3
    for stage, side in enumerate((4, 8, 16)):
        assert untrained.painted(noise(), batch.conditions, stage).shape == (3, 1, side, side)
        seen = untrained.seen(batch.images, stage)
        step = 16 // side
        expected = batch.images.unflatten(-1, (-1, step)).unflatten(-3, (-1, step)).mean((-3, -1))
        torch.testing.assert_close(seen, expected)


def test_a_new_level_begins_where_the_one_before_ended(untrained):
    """The painter's images are the coarser ones stretched; the critic's scores those of an image's means."""
    batch = batch_of(untrained)
    for stage in (1, 2):
        coarse, fine = (untrained.painted(noise(), batch.conditions, one) for one in (stage - 1, stage))
        stretched = smoothly_stretched(coarse.atanh(), fine.shape[2:]).tanh()
        torch.testing.assert_close(fine, stretched, rtol=1e-4, atol=1e-5)
        seen = [(untrained.seen(batch.images, one), batch.conditions, one) for one in (stage - 1, stage)]
        torch.testing.assert_close(*(untrained.judged(*one) for one in seen))


def test_a_sample_is_on_the_whole_grid_in_every_stage_and_the_same(untrained):
    conditions = batch_of(untrained).conditions
    images = []
    for round in (1, 2, 3):
        untrained.enter(round, 3)
        images.append(untrained.sample(conditions, SamplingConfig(), torch.Generator().manual_seed(0)))
        assert images[-1].shape == (3, 1, 16, 16)
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])


def test_earlier_levels_are_trained_on_and_later_ones_are_not():
    gan = tiny_generator("progressive_gan", **WIDTHS)
    trained = [{id(weight) for weight in gan.enter(round, 3).objective.weights()} for round in (1, 2, 3)]
    assert trained[0] < trained[1] < trained[2] == {id(weight) for weight in gan.critic.parameters()}
    assert [one.name for one in gan.objectives][:3] == ["criticising", "painting", "criticising 2"]
