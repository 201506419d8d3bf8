"""Images as a grid of codes, for generators of tokens and of latents: a convolutional autoencoder and its bottleneck.

The bottlenecks have no codebook and no statistics, which would be taken across patients:

- `FSQ`, finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505): each channel is bounded and rounded to one
  of a few levels, and a token is the combination of them. Gradients go straight through the rounding.
- `Normalised`: each image's latents have mean 0 and variance 1, and a little noise in training, so that a decoder makes
  images also of latents that are nearly right.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from monai.networks.nets.autoencoderkl import Decoder, Encoder
from torch import Tensor, nn

from cmrfed.batches import Batch
from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators.contract import Objective
from cmrfed.shapes import Image, Latent, at_least_single

LEVELS = {2: (8, 8), 3: (8, 6, 5), 4: (8, 5, 5, 5), 5: (7, 5, 5, 5, 5), 6: (8, 8, 8, 6, 5)}
"""Of each channel, by their number: those that the paper recommends for 2^6, 2^8, 2^10, 2^12 and 2^14 tokens."""
NOISE = 0.2
"""Standard deviation of what is added to normalised latents in training."""

Tokens = Int[Tensor, "batch place"]


class Bottleneck(nn.Module, ABC):
    """What is let through from the encoder to the decoder; it has no weights."""

    @abstractmethod
    def forward(self, features: Latent) -> Latent:
        """The codes of features."""

    def disturbed(self, codes: Latent, noise: Latent) -> Latent:
        """What the decoder learns from, given unit normal noise."""
        return codes


class FSQ(Bottleneck):
    """Codes of which each channel is one of `levels` values in [-1, 1]; tokens number the combinations."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return math.prod(self.levels)

    def forward(self, features: Latent) -> Latent:
        """The nearest levels, with the gradient of what was rounded."""
        levels = self._of_channels(self.levels, features)
        half, offset = (levels - 1) * 0.999 / 2, (levels + 1) % 2 / 2  # an even number of levels has none in the middle
        bounded = half * (features + (offset / half).atanh()).tanh() - offset
        return (bounded + (bounded.round() - bounded).detach()) / (levels // 2)

    def tokens(self, codes: Latent) -> Tokens:
        """The number of each place's code, row after row."""
        digits = (codes.detach() + 1) * (self._of_channels(self.levels, codes) // 2)
        return (digits.round() * self._of_channels(self._bases, codes)).sum(1).long().flatten(1)

    def codes(self, tokens: Tokens, grid: Sequence[int]) -> Latent:
        """The codes that tokens are the numbers of."""
        places = tokens.unflatten(1, list(grid))[:, None]
        levels, bases = (self._of_channels(one, places) for one in (self.levels, self._bases))
        half = levels // 2
        return (places // bases % levels - half) / half

    @property
    def _bases(self) -> Sequence[int]:
        return [math.prod(self.levels[:channel]) for channel in range(len(self.levels))]

    @staticmethod
    def _of_channels(numbers: Sequence[int], like: Tensor) -> Tensor:
        return torch.tensor(numbers, dtype=like.dtype, device=like.device)[:, None, None]


class Normalised(Bottleneck):
    def forward(self, features: Latent) -> Latent:
        return F.group_norm(features, 1)

    def disturbed(self, codes: Latent, noise: Latent) -> Latent:
        return codes + NOISE * noise


def quantiser(config: GeneratorConfig) -> FSQ:
    """Raises UserError for a number of channels that has no levels."""
    if config.latent_channels not in LEVELS:
        known = ", ".join(map(str, LEVELS))
        raise UserError(
            f"generator.latent_channels: tokens are of {known} channels; found {config.latent_channels}, choose one"
        )
    return FSQ(LEVELS[config.latent_channels])


class Autoencoder(nn.Module):
    """MONAI's encoder and decoder, without attention, of folded pixels; stride: pixels a side of a code's place."""

    def __init__(self, config: GeneratorConfig, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.patch, self.channels = config.patch, config.latent_channels
        self.stride = config.patch * 2 ** (len(config.channels) - 1)
        self.is_private = config.autoencoder == "private"
        self.bottleneck = bottleneck
        shape: dict[str, Any] = {
            "spatial_dims": 2,
            "channels": config.channels,
            "num_res_blocks": [config.residual_blocks] * len(config.channels),
            "norm_num_groups": config.norm_groups,
            "norm_eps": 1e-6,
            "attention_levels": [False] * len(config.channels),
            "with_nonlocal_attn": False,
        }
        pixels = config.patch**2
        self.encoder = Encoder(in_channels=pixels, out_channels=config.latent_channels, **shape)
        self.decoder = Decoder(in_channels=config.latent_channels, out_channels=pixels, **shape)

    def grid(self, image: Sequence[int]) -> tuple[int, ...]:
        """Rows and columns of codes for those of an image. Raises UserError where they are not a whole number."""
        if any(side % self.stride for side in image):
            raise UserError(
                f"preprocessing.size: must be a multiple of {self.stride}, which generator.patch and the number of "
                f"generator.channels make a code's side; found {image[-1]}"
            )
        return tuple(side // self.stride for side in image)

    def encode(self, images: Image) -> Latent:
        self.grid(images.shape[2:])
        return self.bottleneck(at_least_single(self.encoder(F.pixel_unshuffle(images, self.patch))))

    def decode(self, codes: Latent) -> Image:
        return at_least_single(F.pixel_shuffle(self.decoder(codes), self.patch))


class Tokenizing(Objective):
    """That images come back: their mean absolute error. On public images before the first round; or, where the
    autoencoder is private, in a stage of its own."""

    name = "tokenizing"

    def __init__(self, autoencoder: Autoencoder) -> None:
        self.autoencoder = autoencoder
        self.private, self.stage = autoencoder.is_private, 0 if autoencoder.is_private else None

    def weights(self) -> Iterator[nn.Parameter]:
        return self.autoencoder.parameters()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        shape = (batch.size, self.autoencoder.channels, *self.autoencoder.grid(batch.images.shape[2:]))
        return batch._replace(draws={"noise": torch.randn(shape, generator=random).to(batch.images)})

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        codes = self.autoencoder.encode(batch.images)
        images = self.autoencoder.decode(self.autoencoder.bottleneck.disturbed(codes, batch.draws["noise"]))
        return (images - batch.images).abs().flatten(1).mean(1)
