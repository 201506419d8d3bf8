"""What generators that fill in hidden places share: which are hidden, a transformer that sees the others, and the order
in which a sample is filled in."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators.encoders import DenseEncoder, GlobalEncoder
from cmrfed.generators.places import cosines
from cmrfed.shapes import Latent

WAVES = 8
"""Cosines of rows and columns, each, that tell a place where it is."""
HEAD = 32
"""Channels of an attention head, at most."""

Seen = Bool[Tensor, "batch place"]
Places = Float[Tensor, "batch place width"]


def hidden_places(progress: float, places: int) -> int:
    """How many places are still hidden when a sample is so far, by the cosine schedule: cos(pi/2 progress) of all,
    rounded down; progress from 0, when all are, to 1, when none is."""
    return math.floor(math.cos(math.pi / 2 * progress) * places + 1e-6)


def first_places(order: Float[Tensor, "batch place"], counts: Int[Tensor, "..."]) -> Seen:
    """Those whose numbers are the smallest of their row; `counts` of each row, or of all."""
    return order.argsort(dim=1, stable=True).argsort(dim=1) < counts


class MaskedTransformer(nn.Module):
    """A transformer in which every place attends to every other; where hidden, a place is told only where it is, and
    what the conditions say there.

    Conditions of pixels are folded into the places that they lie in; those of the whole image modulate the norms, as
    time does in DiT (Peebles and Xie 2022, arXiv:2212.09748).
    """

    def __init__(self, config: GeneratorConfig, channels: int, stride: int) -> None:
        super().__init__()
        self.width, self.stride = config.channels[-1], stride
        self.dense = DenseEncoder(config.conditions, config.tissue_classes)
        self.told = GlobalEncoder(config.conditions, self.width)
        self.first = nn.Linear(channels + 1 + self.dense.channels * stride**2 + WAVES**2, self.width)
        depth, heads = config.residual_blocks * len(config.channels), max(1, self.width // HEAD)
        if self.width % heads:
            raise UserError(f"generator.channels: the last must be a multiple of {HEAD}; found {self.width}")
        self.blocks = nn.ModuleList(Block(self.width, heads) for _ in range(depth))
        self.norm = ModulatedNorm(self.width)

    def forward(self, codes: Latent, seen: Seen, conditions: Conditions) -> Places:
        """What is known of each place, row after row. codes: where not seen they are not looked at."""
        shown = seen.unflatten(1, list(codes.shape[2:]))[:, None].to(codes.dtype)
        image = [side * self.stride for side in codes.shape[2:]]
        folded = [F.pixel_unshuffle(one.to(codes.dtype), self.stride) for one in self.dense(conditions, image)]
        places = cosines(codes.shape[2:], WAVES, codes).expand(len(codes), -1, -1, -1)
        hidden = self.first(torch.cat([codes * shown, shown, *folded, places], dim=1).flatten(2).transpose(1, 2))
        told = F.silu(self.told(conditions).to(codes.dtype))[:, None]
        for block in self.blocks:
            hidden = block(hidden, told)
        return self.norm(hidden, told)


class Block(nn.Module):
    """Attention and two layers, each after a norm that is shifted and scaled by what is told."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(ModulatedNorm(width) for _ in range(2))
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Places, told: Float[Tensor, "batch 1 width"]) -> Places:
        before, within = self.norms
        hidden = hidden + self.attended(self._attention(before(hidden, told)))
        return hidden + self.layers(within(hidden, told))

    def _attention(self, hidden: Places) -> Places:
        """Written out, so that it is the same under functional transforms as without them."""
        parts = self.queries_keys_values(hidden).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        weights = (queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])).softmax(dim=-1)
        return (weights @ values).transpose(1, 2).flatten(2)


class ModulatedNorm(nn.Module):
    """A layer norm whose scale and shift follow from what is told."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.modulation = nn.Linear(width, 2 * width)

    def forward(self, hidden: Float[Tensor, "batch *place width"], told: Float[Tensor, "batch *_ width"]) -> Tensor:
        """told: of each place, or with places of size 1."""
        scale, shift = self.modulation(told).chunk(2, dim=-1)
        return F.layer_norm(hidden, [self.width]) * (1 + scale) + shift


class RowStreams:
    """A stream of random numbers for each row, each begun from `random`: however many numbers a row takes, and with
    whomever it is drawn, its own stay the same."""

    def __init__(self, rows: int, random: torch.Generator, device: torch.device) -> None:
        seeds = torch.randint(2**62, (rows,), generator=random)
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
        self._device = device

    def uniform(self, shape: Sequence[int]) -> Float[Tensor, "batch ..."]:
        return torch.stack([torch.rand(list(shape), generator=one) for one in self._streams]).to(self._device)

    def normal(self, shape: Sequence[int]) -> Float[Tensor, "batch ..."]:
        return torch.stack([torch.randn(list(shape), generator=one) for one in self._streams]).to(self._device)

    def gumbel(self, shape: Sequence[int]) -> Float[Tensor, "batch ..."]:
        """Whose argmax, added to logits, is a draw from them."""
        return -(-self.uniform(shape).clamp_min(1e-20).log()).log()
