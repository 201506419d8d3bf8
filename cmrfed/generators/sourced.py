"""Generators that begin from another image of the same slice, not from noise alone, or go by one."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from cmrfed.batches import Batch, Conditions
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.generators.contract import Objective
from cmrfed.generators.ddpm import DDPM
from cmrfed.generators.denoiser import Denoiser, Denoising
from cmrfed.generators.flow import Flow
from cmrfed.generators.hiding import told_conditions
from cmrfed.generators.path import Path
from cmrfed.shapes import Image, Latent, spread

SOURCE = "source_image"


class Sourced(Denoiser):
    """A denoiser whose network is not told of the source image: it has another part to play."""

    path_kind: ClassVar[type[Path]]

    def __init__(self, config: GeneratorConfig) -> None:
        if SOURCE not in config.conditions:
            raise UserError(
                f"generator.conditions: {config.family} goes by another image of the slice; name {SOURCE} among them"
            )
        told = tuple(name for name in config.conditions if name != SOURCE)
        super().__init__(config.model_copy(update={"conditions": told}), self.path_kind())
        self.config = config


class DirectFlow(Sourced):
    """Direct flow matching (Moschetto et al. 2025, arXiv:2507.14575): a rectified flow from the source's latents to the
    image's.

    The way begins at x_0 = source + `BLUR` e, e unit Gaussian noise, since one source has many images; where there is
    no source, at e, as other flows do. Everything that asks it at a noise of its own sees the flow from noise.
    """

    path_kind = Flow
    BLUR = 0.2

    @property
    def objectives(self) -> Sequence[Objective]:
        return *self.space.objectives, _FromSource(self)

    def starts(self, noises: Latent, conditions: Conditions) -> Latent:
        """Where the way of each row begins."""
        if SOURCE not in conditions:
            return noises
        sources, known = known_sources(conditions)
        return torch.where(spread(known, noises), self.space.encode(sources) + self.BLUR * noises, noises)

    def denoise(self, noises: Latent, conditions: Conditions, sampling: SamplingConfig) -> Latent:
        return super().denoise(self.starts(noises, conditions), conditions, sampling)


class _FromSource(Denoising):
    """The flow's loss on the way from each row's source, which is hidden now and then."""

    generator: DirectFlow

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        drawn = super().drawn(batch, random)
        told = told_conditions(drawn)
        with torch.no_grad():
            starts = self.generator.starts(drawn.draws["noises"], told)
        return drawn._replace(draws=drawn.draws | {"noises": starts})


class ReferenceAdaptation(Sourced):
    """Sampling that is refined towards a reference (SD-DM, Wong et al. 2025, arXiv:2508.06327) by ILVR's step (Choi
    et al. 2021, arXiv:2108.02938).

    It learns as a DDPM, of patients of any scanner. To draw in the look of the source image, it begins from that image
    at noise share `BEGIN`, and at each step keeps of what it sees all but the coarse part, means over `COARSE` pixels a
    side, which is the source's; for `REFINEMENTS` rounds, each from what the last one gave. Where there is no source
    it samples as others do.
    """

    path_kind = DDPM
    BEGIN, COARSE, REFINEMENTS = 0.7, 4, 2

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        images = super().sample(conditions, sampling, random)
        if SOURCE not in conditions:
            return images
        sources, known = known_sources(conditions)
        reference = adapted = self.space.encode(sources)
        for _ in range(self.REFINEMENTS):
            noises = torch.randn(reference.shape, generator=random).to(reference)
            adapted = self._refined(adapted, reference, noises, conditions, sampling)
        return torch.where(spread(known, images), self.space.decode(adapted).clamp(-1, 1), images)

    def _refined(
        self, start: Latent, reference: Latent, noises: Latent, conditions: Conditions, sampling: SamplingConfig
    ) -> Latent:
        """One round: the later part of the sampling times, each step with the reference's coarse part."""
        asked = self.path.sampling_times(sampling.steps)
        signal, noise = self.path.alpha_sigma(asked)
        kept = asked[noise / (signal + noise) <= self.BEGIN]
        times = (kept if len(kept) else asked[-1:]).to(start.device)[:, None].expand(-1, len(start))
        x_t = self.corrupt(start, noises, times[0])
        for number, t in enumerate(times, start=1):
            parts = self.seen(x_t, t, conditions, sampling.guidance)
            image = parts.image + self._coarse(reference) - self._coarse(parts.image)
            if number < len(times):
                x_t = self.corrupt(image, parts.noise, times[number])
        return image

    def _coarse(self, latents: Latent) -> Latent:
        """Means over blocks of pixels, spread over them again without edges."""
        rows, columns = latents.shape[-2:]
        flat = latents.flatten(0, -3)[:, None]
        mean = F.avg_pool2d(flat, self.COARSE)
        back = F.interpolate(mean, size=(rows, columns), mode="bilinear", align_corners=False)
        return back.view_as(latents)


def known_sources(conditions: Conditions) -> tuple[Image, Bool[Tensor, " batch"]]:
    """The source of each row, zero where there is none, and whether there is one."""
    sources = conditions[SOURCE]
    known = ~sources.flatten(1).isnan().any(dim=1)
    return sources.nan_to_num()[:, None], known
