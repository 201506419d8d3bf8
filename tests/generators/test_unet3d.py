"""The U-Net of stacks: slices see each other, and none is lost on the way down."""

import pytest
import torch
from toy_batches import a_batch, without_zeros

from cmrfed.config import GeneratorConfig
from cmrfed.generators import build_generator


def a_generator(levels):
    config = GeneratorConfig(network="unet3d", levels=levels, channels=(8, 8, 8), norm_groups=4, trainable="all")
    return without_zeros(build_generator(config, seed=0))


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_any_number_of_levels_will_do_as_none_is_halved(levels):
    generator, batch = a_generator(levels), a_batch(1, (levels, 16, 16))
    seen = []
    for module in generator.network.unet.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[2:])))
    said = generator.predict(batch.images, torch.full((1,), 0.5), batch.conditions)
    assert said.shape == batch.images.shape
    assert {levels} == {shape[0] for shape in seen}
    assert {8, 4, 2} == {shape[1] for shape in seen}, "folded by 2, and halved twice"


def test_a_slice_sees_its_neighbours():
    generator, batch = a_generator(4), a_batch(1, (4, 16, 16))
    other = batch.images.clone()
    other[:, :, 3] *= -1
    before, after = (
        generator.predict(images, torch.full((1,), 0.5), batch.conditions) for images in (batch.images, other)
    )
    assert not torch.equal(before[:, :, 0], after[:, :, 0])
