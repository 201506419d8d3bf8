"""Masks first, then images of them (Li, Ma and Shi 2025, Bioengineering 12(8):812, doi:10.3390/bioengineering12080812).

The first stage denoises masks, one-hot in [-1, 1]; the second denoises images that are told of a mask. So a heart can
be drawn of which nothing is given: where a mask is wholly unlabelled, one is drawn first.

Ours: both walk a rectified flow in place of DDPM's path, and masks are told of the conditions of the whole image. The
paper's SPADE is a matter of `generator.network`, which both stages share.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.batches import Batch, Conditions
from cmrfed.conditions import CONDITIONS, UNLABELLED, Dense
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.generators.contract import Objective
from cmrfed.generators.denoiser import DIRECTIONS, Denoiser, Denoising
from cmrfed.generators.flow import Flow
from cmrfed.generators.masked import RowStreams
from cmrfed.generators.spaces import Space
from cmrfed.shapes import Image, Label, Latent, Mask, spread


class OneHot(Space):
    """Masks, as images of their labels, with a channel for each label: 1 where a pixel has it, else -1."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.channels = len(Label) + config.tissue_classes

    def encode(self, images: Image) -> Latent:
        labels = torch.arange(self.channels, device=images.device).reshape(-1, *[1] * (images.ndim - 2))
        return 2 * (images == labels).to(images.dtype) - 1

    def decode(self, latents: Latent) -> Image:
        return latents.argmax(dim=1, keepdim=True).float()


class MaskDiffusion(Denoiser):
    """Its noise view is that of images, of which the second stage learns."""

    def __init__(self, config: GeneratorConfig) -> None:
        if "mask" not in config.conditions:
            raise UserError(f"generator.conditions: family {config.family} draws images of masks: name mask among them")
        super().__init__(config, Flow())
        whole_image = tuple(name for name in config.conditions if not isinstance(CONDITIONS[name], Dense))
        # directions are made for images, and would be random ones for masks
        trainable = "modulation" if config.trainable == DIRECTIONS else config.trainable
        told = config.model_copy(update={"conditions": whole_image, "trainable": trainable})
        self.masks = Denoiser(told, Flow(), OneHot(config))

    @property
    def objectives(self) -> Sequence[Objective]:
        masks, images = MaskDenoising(self.masks), Denoising(self)
        masks.stage = self.space.first_stage
        images.stage = masks.stage + 1
        return *self.space.objectives, masks, images

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        """Images of the masks that are given, and of masks that are drawn where none is: where all is unlabelled."""
        masks = conditions["mask"]
        streams = RowStreams(len(masks), random, masks.device)
        mask_noises = streams.normal(self.masks.latent_shape(masks.shape[1:]))
        noises = self.of_one_heart(streams.normal(self.latent_shape(masks.shape[1:])))
        missing = (masks == UNLABELLED).flatten(1).all(1)
        if missing.any():
            drawn = self._masks(mask_noises, conditions, sampling)
            conditions = conditions | {"mask": torch.where(spread(missing, masks), drawn, masks)}
        return self.space.decode(self.denoise(noises, conditions, sampling)).clamp(-1, 1)

    @torch.no_grad()
    def sample_masks(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Mask:
        """A mask for the conditions of each row, on the grid of `mask`, whose labels are not looked at; those that
        `sample` draws images of, where it draws masks by the same random numbers."""
        masks = conditions["mask"]
        noises = RowStreams(len(masks), random, masks.device).normal(self.masks.latent_shape(masks.shape[1:]))
        return self._masks(noises, conditions, sampling)

    def _masks(self, noises: Latent, conditions: Conditions, sampling: SamplingConfig) -> Mask:
        return self.masks.space.decode(self.masks.denoise(noises, conditions, sampling))[:, 0].long()


class MaskDenoising(Denoising):
    """The path's loss of masks. One of which a part is unlabelled teaches nothing: its row's loss is 0."""

    name = "mask denoising"

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        return super().drawn(batch._replace(images=batch.masks[:, None].to(batch.images.dtype)), random)

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        labelled = (batch.masks != UNLABELLED).flatten(1).all(1)
        return super().losses(batch) * labelled
