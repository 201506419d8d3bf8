"""Painting from some of an image's k-space (Yang et al. 2018, DAGAN, doi:10.1109/TMI.2017.2785879).

Of k-space, the image's Fourier transform, a few phase-encoding lines are kept, and the painter makes an image of what
they alone show, of the mask, and of noise. Now and then it gets no line: so it can paint where there is no scan.

Its loss is that of the game, and how far the painting is from the image in pixels and in k-space. It cannot be taken
without patients' images: so painter and critic are trained by one private objective.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from cmrfed.batches import Batch, Conditions, unknown_conditions
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.generators.contract import Objective
from cmrfed.generators.gans.adversarial import NON_SATURATING, Adversarial, Played, Rows, mean_of
from cmrfed.generators.gans.critics import PatchCritic
from cmrfed.generators.gans.painters import StyledPainter
from cmrfed.generators.hiding import told_conditions
from cmrfed.shapes import Image, spread

SOURCE = "source_image"
ACCELERATIONS = (2.0, 8.0)
"""Least and largest of training: of so many lines, one is kept."""
SAMPLING_ACCELERATION = 4.0
NO_LINE = 0.5
"""Share of rows of training without any line."""
PIXELS, FREQUENCIES = 10.0, 1.0
"""Weights of both distances beside the game."""
_PHASE = -2
"""Lines are encoded along rows."""
_GOLDEN = (math.sqrt(5) - 1) / 2

Lines: TypeAlias = Bool[Tensor, "batch line"]


def kept_lines(accelerations: Rows, numbers: Float[Tensor, "batch line"]) -> Lines:
    """Lines from the lowest negative frequency on: each is kept where its number in [0, 1) is less than its chance.

    Chances fall with the distance from the centre, near which all lines are kept; of all, about one in `acceleration`.
    """
    count = numbers.shape[1]
    places = (torch.arange(count, device=numbers.device) - count // 2).abs() / (count / 2)
    density = (1 - places).square()
    chances = density / density.mean() / accelerations[:, None]
    return (numbers < chances) | (places < _CENTRE)


_CENTRE = 1 / 16
"""Half the share of lines that are always kept."""


def zero_filled(images: Image, lines: Lines) -> Image:
    """The images that the lines alone show: all others are zero."""
    kept = torch.fft.ifftshift(lines, dim=1)
    shape = (len(images), *[1] * (images.ndim - 3), lines.shape[1], 1)
    return torch.fft.ifft(torch.fft.fft(images, dim=_PHASE) * kept.reshape(shape), dim=_PHASE).real


def distance_in_k_space(one: Image, other: Image) -> Rows:
    """The mean size of the difference of their Fourier transforms, those of rows and columns, which keep length."""
    return torch.fft.fft2(one - other, norm="ortho").abs().flatten(1).mean(1)


class ReconstructionGAN(Adversarial):
    """Where `source_image` is known, sampling begins with one in four lines of it."""

    game = NON_SATURATING

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.painter = StyledPainter(config)
        self.critic = PatchCritic(config)

    @property
    def objectives(self) -> Sequence[Objective]:
        return (Reconstructing(self),)

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        masks = conditions["mask"]
        nothing = unknown_conditions([SOURCE], len(masks), masks.shape[1:])
        whole = conditions.get(SOURCE, nothing[SOURCE].to(masks.device))
        known = whole.nan_to_num()[:, None]
        source = zero_filled(known, _sampled_lines(known))[:, 0]
        return super().sample(conditions | {SOURCE: source.where(~whole.isnan(), whole)}, sampling, random)


def _sampled_lines(images: Image) -> Lines:
    """The same for every image: numbers that fill [0, 1) evenly, however many."""
    count = images.shape[_PHASE]
    numbers = (_GOLDEN * torch.arange(count, device=images.device)).frac()
    accelerations = torch.full((len(images),), SAMPLING_ACCELERATION, device=images.device)
    return kept_lines(accelerations, numbers.expand(len(images), count))


class Reconstructing(Played):
    """The critic's loss by its own weights, and the painter's by its own, in one: neither moves the other's."""

    name = "reconstructing"

    def weights(self) -> Iterator[nn.Parameter]:
        yield from self.gan.parameters()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        """What some lines of each image show is its source."""
        drawn, device = super().drawn(batch, random), batch.images.device
        least, largest = ACCELERATIONS
        accelerations = least + (largest - least) * torch.rand(batch.size, generator=random)
        lines = kept_lines(accelerations, torch.rand(batch.size, batch.images.shape[_PHASE], generator=random))
        some = torch.rand(batch.size, generator=random) >= NO_LINE
        source = zero_filled(batch.images, lines.to(device))[:, 0]
        shown = source.where(spread(some.to(device), source), torch.full_like(source, math.nan))
        return drawn._replace(conditions=batch.conditions | {SOURCE: shown})

    def losses(self, batch: Batch) -> Rows:
        conditions = told_conditions(batch)
        painted = self.gan.painted(batch.draws["noise"], conditions, self.stage)
        return self.criticism(batch, conditions, painted.detach()) + self.painting(batch, conditions, painted)

    def painting(self, batch: Batch, conditions: Conditions, painted: Image) -> Rows:
        """The painter's loss, against the critic as it is."""
        critic = self.gan.critic
        still = {name: weight.detach() for name, weight in critic.named_parameters()}
        fooled = mean_of(self.gan.game.own, functional_call(critic, still, (painted, conditions)))
        apart = (painted - batch.images).abs().flatten(1).mean(1)
        return fooled + PIXELS * apart + FREQUENCIES * distance_in_k_space(painted, batch.images)
