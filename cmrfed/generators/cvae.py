"""A conditional VAE with a code of the anatomy and one of the look, after the feature-factorised domain VAE of DiffuSeg
(Zhang et al. 2025, IEEE Journal of Biomedical and Health Informatics).

The anatomy is read off the mask, at every level of a U-Net; the domain code z, one vector an image, modulates each of
its blocks. With p(z|c) a Gaussian whose mean and variance follow from the conditions c of the whole image, the loss is
the negative evidence lower bound

    -E_q [log p(x | z, mask)] + KL(q(z | x, c) || p(z | c)),

of a Laplace likelihood of scale b, times b and for each pixel: |x - mean| + b KL / pixels.

The posterior is the product of the prior and of what an encoder of the image says of z, as in Wu and Goodman 2018
(arXiv:1802.05335): an image that is not there leaves the prior. That, and MONAI's U-Net as decoder, are ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from monai.networks.nets import DiffusionModelUNet
from monai.networks.nets.autoencoderkl import Encoder
from torch import Tensor, nn

from cmrfed.batches import Batch, Conditions, nothing_of
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.generators.contract import Generator, Objective, refuse_stacks
from cmrfed.generators.encoders import DenseEncoder, GlobalEncoder
from cmrfed.generators.hiding import draw_hidden, told_conditions, with_nothing_hidden
from cmrfed.generators.places import cosines, moments
from cmrfed.shapes import Image, at_least_single, spread

CODE = 64
"""Numbers of a domain code; those that images do not need keep to the prior, and cost nothing."""
SCALE = 0.05
"""Of the Laplace likelihood, b; images run from -1 to 1."""
WAVES = 6
"""Of rows and columns: how finely a code can say where in an image something is."""
MAPS = 16
"""Of a look: sums of so slow waves, each by its own part of the code, which the decoder sees beside the anatomy."""
_SURE = -4.0
"""Log variance of what an encoder says before it has learnt: a decoder that sees noise first learns to ignore it."""

Code = Float[Tensor, "batch code"]
Contrasts = Float[Tensor, "batch contrast row column"]
"""Images of the same slice, beside each other; NaN where a pixel is not known."""


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of codes whose numbers are independent."""

    mean: Code
    log_variance: Code

    def at(self, noise: Code) -> Code:
        """The code that a unit normal noise stands for."""
        return self.mean + (self.log_variance / 2).exp() * noise

    def divergence(self, other: "Gaussian") -> Float[Tensor, " batch"]:
        """KL(self || other), in nats."""
        apart = (self.mean - other.mean).square() + self.log_variance.exp()
        return (apart / other.log_variance.exp() - 1 + other.log_variance - self.log_variance).sum(1) / 2

    def times(self, other: "Gaussian", where: Bool[Tensor, " batch"]) -> "Gaussian":
        """The product of both densities, in those rows."""
        precision, more = (-self.log_variance).exp(), spread(where, self.mean) * (-other.log_variance).exp()
        together = precision + more
        return Gaussian((precision * self.mean + more * other.mean) / together, -together.log())


def _gaussian(numbers: Float[Tensor, "batch twice"]) -> Gaussian:
    """Half of the numbers are the mean; the variance is kept away from 0 and from infinity."""
    mean, log_variance = at_least_single(numbers).chunk(2, dim=1)
    return Gaussian(mean, 6 * (log_variance / 6).tanh())


class Prior(nn.Module):
    """p(z|c), by what is known of the whole image."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = 4 * config.channels[0]
        self.told = GlobalEncoder(config.conditions, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, 2 * CODE)

    def forward(self, conditions: Conditions) -> Gaussian:
        told = self.told(conditions).to(self.out.weight.dtype)
        return _gaussian(self.out(F.silu(self.hidden(told))))


class Expert(nn.Module):
    """What one contrast says of z, given the anatomy."""

    def __init__(self, config: GeneratorConfig, anatomy: int) -> None:
        super().__init__()
        self.patch = config.patch
        self.features = Encoder(
            spatial_dims=2,
            in_channels=(2 + anatomy) * config.patch**2,
            channels=config.channels,
            out_channels=config.channels[-1],
            num_res_blocks=[config.residual_blocks] * len(config.channels),
            norm_num_groups=config.norm_groups,
            norm_eps=1e-6,
            attention_levels=[False] * len(config.channels),
            with_nonlocal_attn=False,
        )
        self.norm = nn.LayerNorm(config.channels[-1] * WAVES**2)
        self.out = nn.Linear(config.channels[-1] * WAVES**2, 2 * CODE)
        nn.init.constant_(self.out.bias[CODE:], _SURE)

    def forward(self, images: Image, anatomy: Float[Tensor, "batch channel row column"]) -> Gaussian:
        seen = torch.cat([images.nan_to_num(), (~images.isnan()).to(anatomy.dtype), anatomy], dim=1)
        features = self.features(F.pixel_unshuffle(seen, self.patch))
        return _gaussian(self.out(self.norm(moments(features, WAVES))))


class Decoder(nn.Module):
    """The contrasts of an anatomy in a look: MONAI's diffusion U-Net, in which z takes the place of time, and says at
    the entry what is where."""

    def __init__(self, config: GeneratorConfig, anatomy: int, contrasts: int) -> None:
        super().__init__()
        self.patch, width = config.patch, 4 * config.channels[0]
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=anatomy * config.patch**2 + MAPS,
            out_channels=contrasts * config.patch**2,
            channels=config.channels,
            attention_levels=(False,) * len(config.channels),
            num_res_blocks=config.residual_blocks,
            norm_num_groups=config.norm_groups,
            num_head_channels=config.channels[-1],
            num_class_embeds=1,  # MONAI then calls `class_embedding`, which is ours
        )
        self.maps = nn.Linear(CODE, MAPS * WAVES**2)
        look = nn.Sequential(nn.Linear(CODE, width), nn.SiLU(), nn.Linear(width, width))
        self.unet.register_module("class_embedding", look)

    def forward(self, anatomy: Float[Tensor, "batch channel row column"], codes: Code) -> Contrasts:
        folded = F.pixel_unshuffle(anatomy, self.patch)
        maps = torch.einsum(
            "bmw,wij->bmij", self.maps(codes).unflatten(1, (MAPS, -1)), cosines(folded.shape[2:], WAVES, folded)
        )
        no_time = torch.zeros(len(folded), device=folded.device)
        contrasts = self.unet(torch.cat([folded, maps], dim=1), timesteps=no_time, class_labels=codes)
        return at_least_single(F.pixel_shuffle(contrasts, self.patch))


class CVAE(Generator):
    """contrasts: how many images of a slice are drawn together; the first is the image."""

    contrasts: ClassVar[int] = 1

    def __init__(self, config: GeneratorConfig) -> None:
        refuse_stacks(config)
        super().__init__(config)
        self.dense = DenseEncoder(self.anatomy_conditions, config.tissue_classes)
        self.prior = Prior(config)
        anatomy = 1 + self.dense.channels
        self.experts = nn.ModuleList(Expert(config, anatomy) for _ in range(self.contrasts))
        self.decoder = Decoder(config, anatomy, self.contrasts)

    @property
    def objectives(self) -> Sequence[Objective]:
        return (Bound(self),)

    @property
    def anatomy_conditions(self) -> Sequence[str]:
        """Of the conditions that it is told, those that may say where things are."""
        return self.config.conditions

    def contrasts_of(self, images: Image, conditions: Conditions) -> Contrasts:
        """All that is to be drawn."""
        return images

    def anatomy(self, conditions: Conditions) -> Float[Tensor, "batch channel row column"]:
        """What is where; and 1 everywhere, which is all that is known of it where no condition says more."""
        masks = conditions["mask"]
        everywhere = torch.ones(len(masks), 1, *masks.shape[1:], device=masks.device)
        weight = next(self.parameters())
        return torch.cat([everywhere, *self.dense(conditions, masks.shape[1:])], dim=1).to(weight.dtype)

    def posterior(self, contrasts: Contrasts, conditions: Conditions) -> Gaussian:
        """q(z|x,c): the prior times what each contrast says, where any pixel of it is known."""
        codes, anatomy = self.prior(conditions), self.anatomy(conditions)
        for expert, images in zip(self.experts, contrasts.split(1, dim=1), strict=True):
            codes = codes.times(expert(images, anatomy), ~images.isnan().flatten(1).all(1))
        return codes

    @torch.no_grad()
    def domain_code(self, images: Image, conditions: Conditions) -> Code:
        """The look of images: the posterior's mean, to be drawn again with other masks by `decode`."""
        return self.posterior(self.contrasts_of(images, conditions), conditions).mean

    @torch.no_grad()
    def decode(self, codes: Code, conditions: Conditions) -> Contrasts:
        """The contrasts of conditions' anatomy in the looks of codes, in [-1, 1]."""
        return self.decoder(self.anatomy(conditions), codes).clamp(-1, 1)

    def codes_for(self, conditions: Conditions) -> Gaussian:
        """What is known of the look before anything is drawn."""
        return self.prior(conditions)

    @torch.no_grad()
    def sample_contrasts(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Contrasts:
        """A look, and what it makes of the anatomy; guidance leads away from what the same noise makes of nothing."""
        masks = conditions["mask"]
        noise = torch.randn(len(masks), CODE, generator=random).to(masks.device)
        drawn = self._drawn(noise, conditions)
        if sampling.guidance != 1.0:
            unconditional = self._drawn(noise, nothing_of(conditions))
            drawn = unconditional + sampling.guidance * (drawn - unconditional)
        return drawn.clamp(-1, 1)

    def _drawn(self, noise: Code, conditions: Conditions) -> Contrasts:
        return self.decoder(self.anatomy(conditions), self.codes_for(conditions).at(noise))

    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        return self.sample_contrasts(conditions, sampling, random)[:, :1]


class Bound(Objective):
    """The evidence lower bound, at one code an image."""

    name = "bound"

    def __init__(self, generator: CVAE) -> None:
        self.generator = generator

    def weights(self) -> Iterator[nn.Parameter]:
        return self.generator.parameters()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        draws = draw_hidden(self.generator.config, batch.size, random)
        draws["noise"] = torch.randn(batch.size, CODE, generator=random)
        return batch._replace(draws=draws).to(batch.images.device)

    def told(self, batch: Batch) -> Batch:
        return with_nothing_hidden(batch)

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        conditions = told_conditions(batch)
        contrasts = self.generator.contrasts_of(batch.images, conditions)
        return self.bounds(contrasts, self.seen(contrasts, batch.draws), conditions, batch.draws["noise"])

    def seen(self, contrasts: Contrasts, draws: dict[str, Tensor]) -> Contrasts:
        """What the posterior is read from."""
        return contrasts

    def bounds(
        self, contrasts: Contrasts, seen: Contrasts, conditions: Conditions, noise: Code
    ) -> Float[Tensor, " batch"]:
        """Of all that is known of the contrasts, the mean over its pixels."""
        posterior = self.generator.posterior(seen, conditions)
        drawn = self.generator.decoder(self.generator.anatomy(conditions), posterior.at(noise))
        known = ~contrasts.isnan()
        missed = ((contrasts.nan_to_num() - drawn).abs() * known).flatten(1).sum(1)
        divergence = posterior.divergence(self.generator.prior(conditions))
        return (missed + SCALE * divergence) / known.flatten(1).sum(1)
