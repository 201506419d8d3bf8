"""A painter and a critic against each other (Goodfellow et al. 2014, arXiv:1406.2661), of whom one meets patients.

It is the critic: its gradient is clipped by patient, summed and noised. The painter learns from the critic alone, on
masks of phantoms, which is post-processing of what was paid for (Torfi et al. 2022, RDP-CGAN, arXiv:2012.11774). So
epsilon is that of the critic's steps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad

from cmrfed.batches import Batch, Conditions, of_any_scanner
from cmrfed.config import SamplingConfig
from cmrfed.generators.contract import Generator, Objective
from cmrfed.generators.gans.layers import NOISES
from cmrfed.generators.hiding import draw_hidden, told_conditions, with_nothing_hidden
from cmrfed.shapes import Image, spread

Noise: TypeAlias = Float[Tensor, "batch _"]
Rows: TypeAlias = Float[Tensor, " batch"]
Scores: TypeAlias = list[Float[Tensor, "batch _"]]
"""A critic's scores of images, at each of its scales one a place; the higher, the more an image looks acquired."""
Judge: TypeAlias = Callable[[Image], Scores]


@dataclass(frozen=True)
class Game:
    """What is made of a score: of an acquired image and of a painted one by the critic, of its own by the painter."""

    acquired: Callable[[Tensor], Tensor]
    painted: Callable[[Tensor], Tensor]
    own: Callable[[Tensor], Tensor]


HINGE = Game(lambda score: F.relu(1 - score), lambda score: F.relu(1 + score), torch.neg)
"""Lim and Ye 2017 (arXiv:1705.02894)."""
NON_SATURATING = Game(lambda score: F.softplus(-score), F.softplus, lambda score: F.softplus(-score))
"""Goodfellow et al. 2014: the critic's score is the logit of its belief."""
DRIFT = 1e-3
WASSERSTEIN = Game(lambda score: DRIFT * score.square() - score, lambda score: score, torch.neg)
"""Arjovsky et al. 2017 (arXiv:1701.07875), for a critic whose slope is kept to one; a little of the square keeps scores
near zero (Karras et al. 2018, arXiv:1710.10196)."""


def mean_of(outcome: Callable[[Tensor], Tensor], scores: Scores) -> Rows:
    """The mean outcome over the places of each scale, and over scales."""
    return torch.stack([outcome(one).mean(1) for one in scores]).mean(0)


def steepness(judge: Judge, images: Image) -> Rows:
    """The squared length of the gradient of an image's mean score by its pixels."""
    slopes = grad(lambda seen: mean_of(lambda score: score, judge(seen)).sum())(images)
    return slopes.flatten(1).square().sum(1)


def r1(judge: Judge, acquired: Image) -> Rows:
    """|slope|^2 / 2 at acquired images (Mescheder et al. 2018, arXiv:1801.04406)."""
    return steepness(judge, acquired) / 2


def gradient_penalty(judge: Judge, acquired: Image, painted: Image, between: Rows) -> Rows:
    """(|slope| - 1)^2 somewhere between an acquired image and a painted one (Gulrajani et al. 2017,
    arXiv:1704.00028)."""
    share = spread(between, acquired)
    squared = steepness(judge, share * acquired + (1 - share) * painted)
    return ((squared + _TINY).sqrt() - 1).square()


_TINY = 1e-12
"""Under a root, whose slope has no bound at zero."""


class Adversarial(Generator):
    """A family says what `painter` and `critic` are, the game they play, and what keeps the critic from steep slopes.

    betas, critics_pace, painters_pace: how both are trained in public. A painter that is too quick runs away from a
    critic that never finds out what is wrong (Heusel et al. 2017, arXiv:1706.08500).
    """

    painter: nn.Module
    critic: nn.Module
    game: ClassVar[Game] = HINGE
    penalty_weight: ClassVar[float] = 0.1
    betas: ClassVar[tuple[float, float]] = (0.5, 0.99)
    critics_pace: ClassVar[float] = 1.0
    painters_pace: ClassVar[float] = 0.5

    @property
    def objectives(self) -> Sequence[Objective]:
        return Criticising(self), Painting(self)

    def painters(self, stage: int) -> Iterator[nn.Parameter]:
        """The painter's weights that are trained in a stage."""
        return self.painter.parameters()

    def critics(self, stage: int) -> Iterator[nn.Parameter]:
        """The critic's."""
        return self.critic.parameters()

    def seen(self, images: Image, stage: int) -> Float[Tensor, "batch 1 ..."]:
        """Acquired images as a stage sees them."""
        return images

    def painted(self, noise: Noise, conditions: Conditions, stage: int) -> Image:
        """Images in [-1, 1], on the grid that a stage sees."""
        images: Image = self.painter(noise, conditions)
        return images

    def judged(self, images: Image, conditions: Conditions, stage: int) -> Scores:
        scores: Scores = self.critic(images, conditions)
        return scores

    def penalty(self, judge: Judge, acquired: Image, painted: Image, between: Rows) -> Rows:
        """What a critic's slope costs; `between` in [0, 1] is drawn for each row. R1 where a family has no other."""
        return r1(judge, acquired)

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        """Painted at once: `sampling` has steps and guidance for those who take them."""
        masks = conditions["mask"]
        noise = torch.randn(len(masks), NOISES, generator=random).to(masks.device)
        return self.painted(noise, conditions, self.stages - 1).float().clamp(-1, 1)


class Played(Objective):
    """A side of the game: noise for each row, and conditions hidden now and then, from painter and critic alike."""

    stage: int

    def __init__(self, gan: Adversarial, stage: int = 0) -> None:
        self.gan, self.stage = gan, stage
        self.betas, self.pace = gan.betas, gan.critics_pace
        self.name = f"{self.name} {stage + 1}" if stage else self.name

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        draws = {
            "noise": torch.randn(batch.size, NOISES, generator=random),
            "between": torch.rand(batch.size, generator=random),
            **draw_hidden(self.gan.config, batch.size, random),
        }
        return batch._replace(draws={name: one.to(batch.images.device) for name, one in draws.items()})

    def told(self, batch: Batch) -> Batch:
        return with_nothing_hidden(batch)

    def criticism(self, batch: Batch, conditions: Conditions, painted: Image) -> Rows:
        """The critic's loss, of a batch's images and of painted ones under the same conditions."""
        judge = partial(self.gan.judged, conditions=conditions, stage=self.stage)
        acquired = self.gan.seen(batch.images, self.stage)
        told_apart = mean_of(self.gan.game.acquired, judge(acquired)) + mean_of(self.gan.game.painted, judge(painted))
        steep = self.gan.penalty(judge, acquired, painted, batch.draws["between"])
        return told_apart + self.gan.penalty_weight * steep


class Criticising(Played):
    """The critic on patients' images and on painted ones for the same conditions: what patients pay for."""

    name = "criticising"

    def weights(self) -> Iterator[nn.Parameter]:
        return self.gan.critics(self.stage)

    def losses(self, batch: Batch) -> Rows:
        conditions = told_conditions(batch)
        with torch.no_grad():
            painted = self.gan.painted(batch.draws["noise"], conditions, self.stage)
        return self.criticism(batch, conditions, painted)


class Painting(Played):
    """The painter against the critic that the sites have paid for; the images of a batch are not looked at."""

    name = "painting"
    private = False

    def __init__(self, gan: Adversarial, stage: int = 0) -> None:
        super().__init__(gan, stage)
        self.pace = gan.painters_pace

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        """For scanners of any vendor, though phantoms have none: the critic knows them, from patients."""
        return super().drawn(batch._replace(conditions=of_any_scanner(batch.conditions, random)), random)

    def weights(self) -> Iterator[nn.Parameter]:
        return self.gan.painters(self.stage)

    def losses(self, batch: Batch) -> Rows:
        conditions = told_conditions(batch)
        painted = self.gan.painted(batch.draws["noise"], conditions, self.stage)
        return mean_of(self.gan.game.own, self.gan.judged(painted, conditions, self.stage))
