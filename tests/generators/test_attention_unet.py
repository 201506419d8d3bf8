"""The U-Net with more attention on its way up: where it attends."""

import pytest
from monai.networks.blocks import SpatialAttentionBlock

from cmrfed.config import GeneratorConfig
from cmrfed.generators import build_generator
from cmrfed.generators.networks.attention_unet import HEADS


def attention_of(blocks):
    """The attention blocks of each level, in the order in which a network goes through them."""
    return [[one for one in block.modules() if isinstance(one, SpatialAttentionBlock)] for block in blocks]


@pytest.mark.parametrize("channels", [(16, 24, 32), (16, 24, 32, 32), (16, 16)])
def test_the_coarsest_level_attends_on_the_way_down_and_all_but_the_finest_on_the_way_up(channels):
    config = GeneratorConfig(network="attention_unet", channels=channels)
    unet = build_generator(config, seed=0).network.unet
    down, up = attention_of(unet.down_blocks), attention_of(unet.up_blocks)
    assert [bool(level) for level in down] == [False] * (len(channels) - 1) + [True]
    assert [bool(level) for level in up] == [True] * (len(channels) - 1) + [False]
    assert len(up[0]) == len(down[-1]) + 1, "a block more on the way up"
    assert {one.attn.num_heads for level in down + up for one in level} == {HEADS}


def test_more_of_its_weights_are_on_the_way_up():
    unet = build_generator(GeneratorConfig(network="attention_unet"), seed=0).network.unet
    down, up = (sum(weight.numel() for weight in blocks.parameters()) for blocks in (unet.down_blocks, unet.up_blocks))
    assert up > 2 * down
