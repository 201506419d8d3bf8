"""Progressive growing (Karras et al. 2018, arXiv:1710.10196): coarse images first, then finer and finer ones.

A stage for each level of `generator.channels`, and rounds divided over them. In each, painter and critic have one level
more, all of which are trained, and see images on its grid. Diller et al. 2020 (doi:10.1186/s12880-020-00511-1) paint
hearts with congenital disease so.

A new level fades in as it learns, and not by a clock. The painter's image is a sum over levels (Karras et al. 2020,
arXiv:1912.04958), the critic's features that of an image and of its means over two by two pixels, and what a new level
adds begins at zero: a stage begins where the one before ended, and levels that are yet to come add nothing to images on
the whole grid.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.contract import Objective
from cmrfed.generators.encoders import GlobalEncoder
from cmrfed.generators.folding import folded, unfolded
from cmrfed.generators.gans.adversarial import (
    WASSERSTEIN,
    Adversarial,
    Criticising,
    Judge,
    Noise,
    Painting,
    Rows,
    Scores,
    gradient_penalty,
)
from cmrfed.generators.gans.critics import CriticBlock, scored
from cmrfed.generators.gans.layers import (
    CoarseMap,
    Dense,
    Features,
    Grid,
    Style,
    averaged,
    conv,
    grids,
    rectified,
    smoothly_stretched,
    spatial_dims,
    stretched,
    to_pixels,
)
from cmrfed.shapes import Image


def normed(features: Features) -> Features:
    """Each place's features at unit mean square: the paper's norm of pixels."""
    return features * (features.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class PaintersLevel(nn.Module):
    """Two convolutions on a level's grid, and what it adds to the image."""

    def __init__(self, config: GeneratorConfig, inside: int, outside: int, beside: int) -> None:
        super().__init__()
        dims = spatial_dims(config)
        self.first, self.second = conv(dims, inside + beside, outside), conv(dims, outside, outside)
        self.added = to_pixels(config, outside, 1)

    def forward(self, features: Features, dense: Sequence[Features]) -> Features:
        hidden = normed(rectified(self.first(torch.cat([features, *dense], dim=1))))
        return normed(rectified(self.second(hidden)))


class ProgressivePainter(nn.Module):
    """Levels, coarsest first, of which the first `stage` + 1 paint."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        widths = config.channels[::-1]
        self.patch, self.dense = config.patch, Dense(config)
        self.style, self.coarse = Style(config, widths[0]), CoarseMap(config, widths[0], widths[0])
        self.levels = nn.ModuleList(
            PaintersLevel(config, before, width, self.dense.channels)
            for before, width in pairwise((widths[0], *widths))
        )
        for level in self.levels[1:]:
            begins_at_zero(level.get_submodule("added"))

    def forward(self, noise: Noise, conditions: Conditions, stage: int) -> Image:
        """Images on the stage's own grid."""
        grid = conditions["mask"].shape[1:]
        dense = self.dense(conditions, grid)
        steps = grids(grid, self.patch, len(self.levels))
        features = normed(self.coarse(self.style(noise, conditions), steps[0]))
        images: list[Image] = []
        for level, step in zip(self.levels[: stage + 1], steps, strict=False):
            features = level(stretched(features, step), [averaged(one, step) for one in dense])
            added = unfolded(level.get_submodule("added")(features), self.patch)
            images = [added, *(smoothly_stretched(image, added.shape[2:]) for image in images)]
        return torch.stack(images).sum(0).tanh()

    def active(self, stage: int) -> Iterator[nn.Parameter]:
        """The weights that a stage paints by."""
        parts = (self.style, self.coarse, *self.levels[: stage + 1])
        return chain.from_iterable(part.parameters() for part in parts)


class CriticsLevel(nn.Module):
    """Features of an image on a level's grid, and what is made of them for the next coarser one."""

    def __init__(self, config: GeneratorConfig, inside: int, outside: int, beside: int) -> None:
        super().__init__()
        dims = spatial_dims(config)
        self.first = conv(dims, config.patch**2 + beside, inside, 1)
        self.block = CriticBlock(dims, inside, outside)
        self.joined = conv(dims, outside, outside, 1)

    def forward(self, images: Features, dense: Sequence[Features], finer: Sequence[Features]) -> Features:
        """images, dense: folded. finer: what a finer level has made for this one, where there is one."""
        seen = self.first(torch.cat([images, *dense], dim=1))
        return self.joined(self.block(torch.stack([seen, *finer]).sum(0)))


class ProgressiveCritic(nn.Module):
    """Levels, coarsest first, of which the first `stage` + 1 look at an image and at its means."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        widths = config.channels[::-1]
        self.patch, self.dense = config.patch, Dense(config)
        self.levels = nn.ModuleList(
            CriticsLevel(config, width, coarser, self.dense.channels)
            for coarser, width in pairwise((widths[0], *widths))
        )
        for level in self.levels[1:]:
            begins_at_zero(level.get_submodule("joined"))
        self.score = conv(spatial_dims(config), widths[0], 1, 1)
        self.told = GlobalEncoder(config.conditions, widths[0])

    def forward(self, images: Image, conditions: Conditions, stage: int) -> Scores:
        """Of images on the stage's own grid."""
        grid = conditions["mask"].shape[1:]
        dense = self.dense(conditions, grid)
        steps = grids(grid, self.patch, len(self.levels))
        finer: list[Features] = []
        for number in reversed(range(stage + 1)):
            shown = folded(averaged(images, unfolded_grid(steps[number], self.patch)), self.patch)
            finer = [self.levels[number](shown, [averaged(one, steps[number]) for one in dense], finer)]
        return [scored(rectified(finer[0]), self.score, self.told(conditions))]

    def active(self, stage: int) -> Iterator[nn.Parameter]:
        """The weights that a stage scores by."""
        parts = (self.score, self.told, *self.levels[: stage + 1])
        return chain.from_iterable(part.parameters() for part in parts)


def unfolded_grid(grid: Grid, patch: int) -> Grid:
    *levels, rows, columns = grid
    return (*levels, rows * patch, columns * patch)


def begins_at_zero(layer: nn.Module) -> None:
    for weight in layer.parameters():
        nn.init.zeros_(weight)


class ProgressiveGAN(Adversarial):
    """One convolution less a level than in the paper, and weights that are not scaled as they are used. No row may see
    another, so that critics have no statistic of how much images differ."""

    game = WASSERSTEIN
    penalty_weight = 10.0
    betas = (0.0, 0.99)  # a penalty of slopes wants no momentum, and shorter steps
    critics_pace = painters_pace = 0.3

    painter: ProgressivePainter
    critic: ProgressiveCritic

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.painter, self.critic = ProgressivePainter(config), ProgressiveCritic(config)

    @property
    def objectives(self) -> Sequence[Objective]:
        stages = range(len(self.config.channels))
        return [side(self, stage) for stage in stages for side in (Criticising, Painting)]

    def painters(self, stage: int) -> Iterator[nn.Parameter]:
        return self.painter.active(stage)

    def critics(self, stage: int) -> Iterator[nn.Parameter]:
        return self.critic.active(stage)

    def seen(self, images: Image, stage: int) -> Float[Tensor, "batch 1 ..."]:
        patch, stages = self.config.patch, len(self.config.channels)
        return averaged(images, unfolded_grid(grids(images.shape[2:], patch, stages)[stage], patch))

    def painted(self, noise: Noise, conditions: Conditions, stage: int) -> Image:
        image: Image = self.painter(noise, conditions, stage)
        return image

    def judged(self, images: Image, conditions: Conditions, stage: int) -> Scores:
        scores: Scores = self.critic(images, conditions, stage)
        return scores

    def penalty(self, judge: Judge, acquired: Image, painted: Image, between: Rows) -> Rows:
        return gradient_penalty(judge, acquired, painted, between)
