"""Stacks of slices with their masks: one flow draws both, as latent diffusion does of volumes of the heart.

Beside the image's latents x the path carries the mask's channels y, one for each label: 1 where a pixel has it, -1
where it has another, 0 where nobody has labelled it; there the loss of y is left out. The network is not told of a
mask. One that is given is kept to its way by replacement, as RePaint (Lugmayr et al. 2022, arXiv:2201.09865) keeps what
is known of an image: before the network is asked, the known part of y_t is signal(t) y + noise(t) e, with e the noise
that y began from; afterwards it is y again. RePaint's second tries at each time are left out, as each would cost as
much as a step. What is not labelled is drawn.

Daum et al. 2024 (arXiv:2407.16405) train a latent diffusion of short-axis volumes with differential privacy. A stack is
one phase; end diastole and end systole of one heart are drawn apart, each told of its `phase`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.batches import Batch, Conditions
from cmrfed.conditions import UNLABELLED
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.generators.denoiser import Denoiser
from cmrfed.generators.encoders import DenseEncoder
from cmrfed.generators.flow import Flow
from cmrfed.generators.folding import folded, unfolded
from cmrfed.generators.path import Parts, Times
from cmrfed.generators.samplers import Seen
from cmrfed.shapes import FIRST_TISSUE, Image, Latent, Mask

Channels = Float[Tensor, "batch label *place"]


class Volume(Denoiser):
    """A flow of images and masks together, in any space; also of single slices, where `levels` is 1."""

    draws_masks = True

    def __init__(self, config: GeneratorConfig) -> None:
        if "mask" in config.conditions:
            raise UserError(
                "generator.conditions: a volume's mask is drawn, and given where there is one; leave out mask"
            )
        super().__init__(config, Flow())

    @property
    def channels(self) -> int:
        """Those of the image, then the mask's."""
        return self.space.channels + (FIRST_TISSUE + self.config.tissue_classes) * self.space.stride**2

    def encoded(self, batch: Batch) -> Latent:
        return torch.cat([self.space.encode(batch.images), self._as_channels(batch.masks)], dim=1)

    def decoded(self, latents: Latent) -> Image:
        return self.space.decode(latents[:, : self.space.channels])

    def error(self, prediction: Latent, target: Latent, images: Latent) -> Float[Tensor, " batch"]:
        """The mean of the image's and the mask's; the mask's over what is labelled."""
        squares = (prediction - target).square()
        image, mask = (part.flatten(1) for part in self._parted(squares))
        labelled = (self._parted(images)[1] != 0).flatten(1)
        return (image.mean(1) + (mask * labelled).sum(1) / labelled.sum(1).clamp_min(1)) / 2

    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        return self.sample_with_masks(conditions, sampling, random)[0]

    @torch.no_grad()
    def sample_with_masks(
        self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator
    ) -> tuple[Image, Mask]:
        """Images, and masks that are the given ones wherever these are labelled."""
        given = conditions["mask"]
        latents = self.denoise(self.noises(given, random), conditions, sampling)
        drawn = unfolded(self._parted(latents)[1], self.space.stride).argmax(dim=1)
        return self.decoded(latents).clamp(-1, 1), torch.where(given == UNLABELLED, drawn, given)

    def asked(self, noises: Latent, conditions: Conditions, guidance: float) -> Seen:
        """Keeps what is given of the mask to its way from its own noise."""
        ask = super().asked(noises, conditions, guidance)
        mask = self._as_channels(conditions["mask"])
        given = torch.cat([torch.zeros_like(self._parted(noises)[0]), mask], dim=1)
        known = given != 0

        def seen(x_t: Latent, t: Times) -> Parts:
            way = self.path.corrupt(Parts(given, noises), t)
            found = ask(torch.where(known, way, x_t), t)
            return Parts(torch.where(known, given, found.image), torch.where(known, noises, found.noise))

        return seen

    def _parted(self, latents: Latent) -> tuple[Float[Tensor, "batch own *place"], Channels]:
        """(The image's channels, the mask's)."""
        return latents[:, : self.space.channels], latents[:, self.space.channels :]

    def _as_channels(self, masks: Mask) -> Channels:
        """1 for a pixel's label and -1 for the others; 0 where it has none. On the latents' grid, nothing lost."""
        (shown,) = DenseEncoder(["mask"], self.config.tissue_classes)({"mask": masks}, masks.shape[1:])
        return folded(2 * shown - shown.sum(dim=1, keepdim=True), self.space.stride)
