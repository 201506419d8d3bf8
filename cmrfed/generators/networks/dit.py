"""A transformer of patches that is told by its norms: DiT with adaLN-Zero (Peebles and Xie 2023, arXiv:2212.09748).

The tokens of an image are its patches. Each block is

    h <- h + g_1 attention(norm(h) (1 + s_1) + b_1),    h <- h + g_2 mlp(norm(h) (1 + s_2) + b_2),

where scales s, shifts b and gates g are one linear layer of the embedding of time and conditions, which starts at zero:
at first every block is the identity. What tokens say of their pixels goes through one convolution at the end, as in
U-ViT (Bao et al. 2022, arXiv:2209.12152): among pixels, without a decoder after it, patches would show. Bubeck et al.
2025 (arXiv:2507.19186) compare transformers of these kinds with others on cardiac MRI.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from monai.networks.blocks import MLPBlock, SABlock
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.encoders import GlobalEncoder, dense_encoder
from cmrfed.generators.folding import folded, unfolded
from cmrfed.generators.networks.contract import Network
from cmrfed.shapes import Latent

HEADS = 6
MLP_RATIO = 4
SAID = 8
"""Numbers that a token says of each of its pixels."""
_WAVES = 256
"""Sines and cosines that a time is told by."""

Tokens = Float[Tensor, "batch place width"]
Embedding = Float[Tensor, "batch width"]
Layer = TypeVar("Layer", bound=nn.Module)


class DiT(Network):
    """Its width is the last of `channels`; it has `residual_blocks` blocks for each of them. What is known of pixels is
    part of their patch."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__(config, channels)
        self.patch, self.width = config.patch, config.channels[-1]
        self.dense = dense_encoder(config.conditions, config)
        self.first = nn.Linear((channels + self.dense.channels) * self.patch**2, self.width)
        self.time = nn.Sequential(nn.Linear(_WAVES, self.width), nn.SiLU(), nn.Linear(self.width, self.width))
        self.told = GlobalEncoder(config.conditions, self.width)
        depth = config.residual_blocks * len(config.channels)
        self.blocks = nn.ModuleList(Block(self.width) for _ in range(depth))
        self.last = LastLayer(self.width, SAID * self.patch**2)
        self.joined = _zero(nn.Conv2d(SAID, channels, 3, padding=1))

    def forward(self, x_t: Latent, t: Float[Tensor, " batch"], conditions: Conditions) -> Latent:
        dense = [one.to(x_t.dtype) for one in self.dense(conditions, x_t.shape[2:])]
        seen = folded(torch.cat([x_t, *dense], dim=1), self.patch)
        grid = seen.shape[2:]
        tokens = self.first(seen.flatten(2).mT) + positions(grid, self.width, seen.device)
        waves = get_timestep_embedding(1000.0 * t, _WAVES).to(seen.dtype)
        embedding = self.time(waves) + self.told(conditions)
        for block in self.blocks:
            tokens = block(tokens, embedding)
        said = unfolded(self.last(tokens, embedding).mT.unflatten(2, grid), self.patch)
        return self.joined(said).float()

    def groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """all: every weight. modulation: what scales, shifts and gates are whatever the time, which is to a transformer
        what the weights of its norms are to a U-Net, and the embeddings of conditions. adaptation: these, and the first
        and the last layer."""
        return {
            "all": self.parameters(),
            "modulation": self._modulation(),
            "adaptation": self._adaptation(),
        }

    def _modulation(self) -> Iterator[nn.Parameter]:
        for module in self.modules():
            if isinstance(module, Modulation):
                yield module.linear.bias
        yield from self.told.embeddings()

    def _adaptation(self) -> Iterator[nn.Parameter]:
        yield from self._modulation()
        yield from self.first.parameters()
        yield from self.joined.parameters()


class Modulation(nn.Module):
    """adaLN-Zero: some numbers for each channel, all zero at first."""

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.numbers, self.linear = numbers, _zero(nn.Linear(width, numbers * width))

    def forward(self, embedding: Embedding) -> tuple[Float[Tensor, "batch 1 width"], ...]:
        return self.linear(F.silu(embedding))[:, None].chunk(self.numbers, dim=-1)


class Block(nn.Module):
    """Attention among all patches, and a perceptron of each; MONAI's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = Modulation(width, 6)
        self.attention = SABlock(width, math.gcd(width, HEADS), qkv_bias=True)
        self.mlp = MLPBlock(width, MLP_RATIO * width)

    def forward(self, tokens: Tokens, embedding: Embedding) -> Tokens:
        b_1, s_1, g_1, b_2, s_2, g_2 = self.modulation(embedding)
        tokens = tokens + g_1 * self.attention(_normed(tokens) * (1 + s_1) + b_1)
        return tokens + g_2 * self.mlp(_normed(tokens) * (1 + s_2) + b_2)


class LastLayer(nn.Module):
    """What each token says of its patch."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.modulation = Modulation(width, 2)
        self.out = nn.Linear(width, channels)

    def forward(self, tokens: Tokens, embedding: Embedding) -> Float[Tensor, "batch place channel"]:
        shift, scale = self.modulation(embedding)
        return self.out(_normed(tokens) * (1 + scale) + shift)


def positions(grid: Sequence[int], width: int, device: torch.device | None = None) -> Float[Tensor, "place width"]:
    """Sines and cosines of each place's row and column, on a grid of any size."""
    axes = torch.meshgrid(*(torch.arange(side, device=device) for side in grid), indexing="ij")
    waves = torch.cat([get_timestep_embedding(axis.flatten(), width // len(grid)) for axis in axes], dim=1)
    return F.pad(waves, (0, width - waves.shape[1]))


def _zero(layer: Layer) -> Layer:
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def _normed(tokens: Tokens) -> Tokens:
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
