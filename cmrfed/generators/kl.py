"""A space of latents that an autoencoder makes of images, for latent diffusion (Rombach et al. 2022, arXiv:2112.10752).

The encoder says of each latent a mean m and a standard deviation s; the decoder learns from m + s e, e unit Gaussian,
so that latents beside m decode alike. Both are trained on

    |x - x'| + EDGES |grad x - grad x'| + KL D_KL(N(m, s^2) || N(0, 1)),

means over pixels and latents; the differences of neighbours stand for the paper's perceptual and adversarial losses,
which would need a network that others trained, or a critic. A path runs among the means m.

Beside each network a linear layer leads from a patch of pixels to its latents, and back, as shortcuts do in Chen et al.
2024 (arXiv:2410.10733). At first there is nothing else: latents are the lowest waves of the patch, scaled so that they
are of about unit size, and they decode to what these say of it. So an image is never lost, however few the steps.
"""

from collections.abc import Iterator, Sequence
from math import log
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from monai.networks.nets import AutoencoderKL
from scipy.fft import dct
from torch import Tensor, nn

from cmrfed.batches import Batch
from cmrfed.config import GeneratorConfig
from cmrfed.generators.contract import Objective
from cmrfed.generators.folding import folded, unfolded
from cmrfed.generators.spaces import Space
from cmrfed.shapes import Image, Latent

FOLDED = 2
"""Pixels a side that are channels to the autoencoder: layers among single pixels would cost the most."""
LEVELS = 2
"""Of the autoencoder; each but the last halves rows and columns."""
EDGES = 1.0
KL = 1e-2
LARGEST = 4.0
"""That a mean can be, in absolute value."""
FIRST_DEVIATION = 0.1
"""What standard deviations begin at."""
_LEVEL, _CONTRAST, _DETAIL = -2.0, 1.5, 0.5
"""Of phantoms in orthonormal waves: mean and standard deviation of the zeroth, standard deviation of the next."""

Slices = Float[Tensor, "slice channel row column"]
Rows = Float[Tensor, " batch"]


class KLSpace(Space):
    """Slice by slice, also of a stack. Its widths are the first and the last of `channels`."""

    stride = FOLDED * 2 ** (LEVELS - 1)
    bounded: ClassVar[bool] = False

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.channels = config.latent_channels
        self.private = config.autoencoder == "private"
        self.autoencoder = AutoencoderKL(
            spatial_dims=2,
            in_channels=FOLDED**2,
            out_channels=FOLDED**2,
            channels=(config.channels[0], config.channels[-1]),
            latent_channels=config.latent_channels,
            num_res_blocks=config.residual_blocks,
            attention_levels=(False,) * LEVELS,
            norm_num_groups=config.norm_groups,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.shortcut = Shortcut(config.latent_channels, self.stride)
        self._begin_as_shortcut()

    def _begin_as_shortcut(self) -> None:
        *_, last = self.autoencoder.decoder.get_submodule("blocks").children()
        for layer in (self.autoencoder.quant_conv_mu, self.autoencoder.quant_conv_log_sigma, last):
            for weight in layer.parameters():
                nn.init.zeros_(weight)
        nn.init.constant_(self.autoencoder.quant_conv_log_sigma.get_parameter("conv.bias"), 2 * log(FIRST_DEVIATION))

    @property
    def objectives(self) -> Sequence[Objective]:
        return (Reconstruction(self),)

    def encode(self, images: Image) -> Latent:
        return self.posterior(images)[0]

    def posterior(self, images: Image) -> tuple[Latent, Latent]:
        """Means, within `LARGEST`, and standard deviations."""
        slices = _as_slices(images)
        means, deviations = self.autoencoder.encode(folded(slices, FOLDED))
        means = LARGEST * ((means + self.shortcut.down(folded(slices, self.stride))) / LARGEST).tanh()
        return _as_stacks(means, images), _as_stacks(deviations, images)

    def decode(self, latents: Latent) -> Image:
        slices = _as_slices(latents)
        straight = unfolded(self.shortcut.up(slices), self.stride)
        return _as_stacks(unfolded(self.autoencoder.decode(slices), FOLDED) + straight, latents)


class Shortcut(nn.Module):
    """Linear layers from the pixels of a patch to its latents, and back."""

    def __init__(self, latents: int, side: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(side**2, latents, 1), nn.Conv2d(latents, side**2, 1)
        waves = _lowest_waves(side, latents)
        size, level = np.full((latents, 1), _DETAIL), np.zeros(latents)
        size[0], level[0] = _CONTRAST, _LEVEL
        _set(self.down, waves / size, -level / size[:, 0])
        _set(self.up, (waves * size).T, level @ waves)


@torch.no_grad()
def _set(layer: nn.Conv2d, weight: np.ndarray, bias: np.ndarray) -> None:
    layer.weight.copy_(torch.from_numpy(weight)[..., None, None])
    layer.get_parameter("bias").copy_(torch.from_numpy(bias))


def _lowest_waves(side: int, count: int) -> Float[np.ndarray, "count pixel"]:
    """Orthonormal cosines of a patch, those of the longest waves first; zeros once all are there."""
    wave = dct(np.eye(side), axis=0, norm="ortho")
    both = np.einsum("ui,vj->uvij", wave, wave).reshape(side**2, side**2)
    frequency = np.add.outer(np.arange(side) ** 2, np.arange(side) ** 2).ravel()
    lowest = both[np.argsort(frequency, kind="stable")][:count]
    return np.pad(lowest, ((0, count - len(lowest)), (0, 0)))


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
