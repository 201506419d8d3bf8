"""A space of latents that an autoencoder makes of images, for latent diffusion (Rombach et al. 2022, arXiv:2112.10752).

The encoder says of each latent a mean m and a standard deviation s; the decoder learns from m + s e, e unit Gaussian,
so that latents beside m decode alike. Both are trained on

    |x - x'| + EDGES |grad x - grad x'| + KL D_KL(N(m, s^2) || N(0, 1)),

means over pixels and latents; the differences of neighbours stand for the paper's perceptual and adversarial losses,
which would need a network that others trained, or a critic. A path runs among the means m, each image's shifted and
scaled to mean 0 and standard deviation 1, whoever else is encoded.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

from cmrfed.batches import Batch
from cmrfed.config import GeneratorConfig
from cmrfed.generators.contract import Objective
from cmrfed.generators.spaces import Space
from cmrfed.shapes import Image, Latent

LEVELS = 3
"""Of the autoencoder; each but the last halves rows and columns."""
EDGES = 1.0
KL = 1e-3
_LEAST_STD = 1e-3
"""Of an image's latents, below which they are not scaled up."""

Slices = Float[Tensor, "slice channel row column"]
Rows = Float[Tensor, " batch"]


class KLSpace(Space):
    """Slice by slice, also of a stack. It has the first three widths of `channels`, of which the last stands for any
    that are missing."""

    stride = 2 ** (LEVELS - 1)
    bounded: ClassVar[bool] = False

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.channels = config.latent_channels
        self.private = config.autoencoder == "private"
        last = len(config.channels) - 1
        self.autoencoder = AutoencoderKL(
            spatial_dims=2,
            channels=[config.channels[min(level, last)] for level in range(LEVELS)],
            latent_channels=config.latent_channels,
            num_res_blocks=config.residual_blocks,
            attention_levels=(False,) * LEVELS,
            norm_num_groups=config.norm_groups,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )

    @property
    def objectives(self) -> Sequence[Objective]:
        return (Reconstruction(self),)

    def encode(self, images: Image) -> Latent:
        return self.posterior(images)[0]

    def posterior(self, images: Image) -> tuple[Latent, Latent]:
        """Means, of mean 0 and standard deviation 1 for each slice, and standard deviations."""
        means, deviations = self.autoencoder.encode(_as_slices(images))
        centred = means - means.mean((1, 2, 3), keepdim=True)
        size = centred.square().mean((1, 2, 3), keepdim=True).add(_LEAST_STD**2).sqrt()
        return _as_stacks(centred / size, images), _as_stacks(deviations, images)

    def decode(self, latents: Latent) -> Image:
        return _as_stacks(self.autoencoder.decode(_as_slices(latents)), latents)


class Reconstruction(Objective):
    """Of public images before the first round; where it is private, of patients' in a stage before that of the path."""

    name = "reconstruction"

    def __init__(self, space: KLSpace) -> None:
        self.space = space
        self.private, self.stage = space.private, 0 if space.private else None

    def weights(self) -> Iterator[nn.Parameter]:
        yield from self.space.parameters()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        *outer, rows, columns = batch.images.shape[2:]
        stride = self.space.stride
        shape = (batch.size, self.space.channels, *outer, rows // stride, columns // stride)
        return batch._replace(draws={"noises": torch.randn(shape, generator=random).to(batch.images)})

    def losses(self, batch: Batch) -> Rows:
        means, deviations = self.space.posterior(batch.images)
        made = self.space.decode(means + deviations * batch.draws["noises"]).float()
        divergence = (means.square() + deviations.square() - 1 - 2 * deviations.log()) / 2
        return _distance(batch.images, made) + EDGES * _edge_distance(batch.images, made) + KL * _mean(divergence)


def _edge_distance(images: Image, others: Image) -> Rows:
    """Of the differences of neighbours, along columns and rows."""
    across, down = (_distance(images.diff(dim=axis), others.diff(dim=axis)) for axis in (-1, -2))
    return across + down


def _distance(images: Tensor, others: Tensor) -> Rows:
    return _mean((images - others).abs())


def _mean(values: Tensor) -> Rows:
    return values.float().flatten(1).mean(1)


def _as_slices(stacks: Float[Tensor, "batch channel *grid"]) -> Slices:
    """Slices as they are; those of stacks one after the other."""
    return stacks.movedim(1, -3).flatten(0, -4)


def _as_stacks(slices: Slices, like: Float[Tensor, "batch other ..."]) -> Float[Tensor, "batch channel *grid"]:
    """The inverse, for the rows and levels that are `like`'s."""
    return slices.unflatten(0, (len(like), *like.shape[2:-2])).movedim(-3, 1)
