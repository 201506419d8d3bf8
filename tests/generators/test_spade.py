"""The U-Net whose way up is normalised by the mask."""

import pytest
import torch
import torch.nn.functional as F
from monai.networks.blocks.spade_norm import SPADE
from torch import nn
from toy_batches import without_zeros

from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators import build_generator


def unet(**changes):
    return build_generator(GeneratorConfig(network="spade", channels=(16, 24), **changes), seed=0).network.unet


def test_a_norm_is_scaled_and_shifted_by_the_mask_at_each_pixel():
    """gamma(mask) and beta(mask) come from it by two convolutions each, and from nothing else."""
    norm = without_zeros(next(one for one in unet().modules() if isinstance(one, SPADE)))
    random = torch.Generator().manual_seed(0)
    channels = norm.param_free_norm.num_channels
    h = torch.randn(2, channels, 8, 8, generator=random)
    mask = torch.rand(2, norm.mlp_shared.conv.in_channels, 8, 8, generator=random)

    def convolved(values, layer):
        return F.conv2d(values, layer.conv.weight, layer.conv.bias, padding=1)

    inner = F.leaky_relu(convolved(mask, norm.mlp_shared))
    affine = norm.param_free_norm
    normed = F.group_norm(h, affine.num_groups, affine.weight, affine.bias, eps=affine.eps)
    expected = normed * (1 + convolved(inner, norm.mlp_gamma)) + convolved(inner, norm.mlp_beta)
    torch.testing.assert_close(norm(h, mask), expected)


def test_every_norm_of_the_way_up_is_one_and_none_of_the_way_down():
    network = unet()
    down, up = (
        [one for one in part.modules() if isinstance(one, SPADE)] for part in (network.down_blocks, network.up_blocks)
    )
    assert not down and len(up) == 2 * 2 * 2
    assert not any(isinstance(one, nn.InstanceNorm2d) for one in network.modules())


def test_the_encoder_is_not_shown_the_mask():
    generator = build_generator(GeneratorConfig(network="spade"), seed=0)
    assert generator.network.unet.conv_in.conv.in_channels == generator.config.patch**2


def test_without_anything_to_show_it_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"^generator.network: spade shows the mask .* generator.conditions$"):
        unet(conditions=("vendor",))
