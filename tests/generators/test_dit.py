"""The transformer of patches: its block is the paper's, and begins as the identity."""

import math

import pytest
import torch
from toy_batches import a_batch, without_zeros

from cmrfed.config import GeneratorConfig
from cmrfed.generators import build_generator
from cmrfed.generators.networks.dit import HEADS, Block, positions

WIDTH = 2 * HEADS
CONFIG = GeneratorConfig(network="dit", channels=(24, 24), norm_groups=4, patch=4, trainable="all")


def normed(h):
    return (h - h.mean(-1, keepdim=True)) / (h.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()


def attention(h, block):
    """softmax(q k' / sqrt(d)) v, head by head."""
    qkv = (h @ block.qkv.weight.T + block.qkv.bias).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    q, k, v = qkv
    shares = (q @ k.mT / math.sqrt(WIDTH / HEADS)).softmax(-1)
    return (shares @ v).transpose(1, 2).flatten(-2) @ block.out_proj.weight.T + block.out_proj.bias


def perceptron(h, block):
    inner = h @ block.linear1.weight.T + block.linear1.bias
    inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
    return inner @ block.linear2.weight.T + block.linear2.bias


def test_a_block_is_the_papers():
    block, random = without_zeros(Block(WIDTH)), torch.Generator().manual_seed(0)
    h, c = torch.randn(2, 5, WIDTH, generator=random), torch.randn(2, WIDTH, generator=random)
    told = (c * c.sigmoid()) @ block.modulation.linear.weight.T + block.modulation.linear.bias
    b_1, s_1, g_1, b_2, s_2, g_2 = told[:, None].split(WIDTH, dim=-1)
    expected = h + g_1 * attention(normed(h) * (1 + s_1) + b_1, block.attention)
    expected = expected + g_2 * perceptron(normed(expected) * (1 + s_2) + b_2, block.mlp)
    torch.testing.assert_close(block(h, c), expected)


def test_at_first_every_block_is_the_identity_and_the_network_says_nothing():
    generator, batch = build_generator(CONFIG, seed=0), a_batch()
    tokens, embedding = torch.randn(2, 5, 24), torch.randn(2, 24)
    assert all(torch.equal(block(tokens, embedding), tokens) for block in generator.network.blocks)
    assert not generator.predict(batch.images, torch.full((3,), 0.5), batch.conditions).any()


def test_it_has_residual_blocks_for_each_width_and_the_last_width():
    network = build_generator(CONFIG.model_copy(update={"residual_blocks": 3}), seed=0).network
    assert len(network.blocks) == 6 and network.width == 24


@pytest.mark.parametrize("grid", [(16, 16), (8, 24)])
def test_any_grid_of_patches_will_do(grid):
    generator, batch = without_zeros(build_generator(CONFIG, seed=0)), a_batch(2, grid)
    assert generator.predict(batch.images, torch.full((2,), 0.5), batch.conditions).shape == batch.images.shape


def test_every_place_has_a_position_of_its_own():
    found = positions((5, 7), 24)
    apart = torch.cdist(found, found) + torch.eye(35) * 100
    assert found.shape == (35, 24) and apart.min() > 0.1


def test_modulation_is_some_thousand_numbers_as_a_u_nets_norms_are():
    """Few enough for directions, which are found from a square matrix of them."""
    config = GeneratorConfig(network="dit", channels=(144,) * 3, residual_blocks=2, patch=4, trainable="modulation")
    generator = build_generator(config, seed=0)
    trained = [name for name, weight in generator.named_parameters() if weight.requires_grad]
    assert sum(generator.get_parameter(name).numel() for name in trained) < 10_000
    assert sum(name.endswith("modulation.linear.bias") for name in trained) == 7
    assert all("modulation.linear.bias" in name or name.startswith("network.told") for name in trained)
