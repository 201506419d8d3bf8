"""Hearts as slices on the common grid, in memory: what generators draw for where no patient's mask may be taken."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from cmrfed.anatomy.folder import HeartRow, whole_heart
from cmrfed.anatomy.parametric import PHASES, HeartMasks
from cmrfed.columns import columns
from cmrfed.config import HeartConfig, PreprocessingConfig, VoxelsConfig
from cmrfed.core.progress import Progress, counted
from cmrfed.parallel import map_in_order
from cmrfed.phantom.heart import PATHOLOGIES
from cmrfed.preprocessing import prepare_mask
from cmrfed.slices import Slices, concatenate, masks_alone
from cmrfed.volumetry import slice_levels


def everybody(count: int) -> list[HeartConfig]:
    """As many hearts as the phantom's patients are: each of their pathologies in turn, of any severity."""
    return [HeartConfig(pathology=PATHOLOGIES[index % len(PATHOLOGIES)]) for index in range(count)]


def heart_slices(
    requests: Sequence[HeartConfig],
    voxels: VoxelsConfig,
    preprocessing: PreprocessingConfig,
    seed: int,
    progress: Progress | None = None,
) -> Slices:
    """Masks of the hearts at both phases, without images, each heart a patient of nobody's, told as its measures are.

    They are those that `draw_folder` writes for the same requests and seed.
    """
    one = partial(_slices_of, voxels=voxels, preprocessing=preprocessing, seed=seed)
    drawn = map_in_order(one, list(enumerate(requests)))
    return concatenate(list(counted(drawn, len(requests), progress)))


def course_slices(
    requests: Sequence[HeartConfig], voxels: VoxelsConfig, preprocessing: PreprocessingConfig, person: int
) -> list[Slices] | None:
    """As `heart_slices` of each request, all of one person's heart: requests differ in severity alone. `person` is the
    seed. None where one was drawn anew (`HeartRow.tries`), and with it another person's."""
    hearts = [whole_heart((0, asked), voxels, person) for asked in requests]
    if len({row.tries for _, row in hearts}) > 1:
        return None
    return [_on_grid(heart, row, preprocessing) for heart, row in hearts]


def _slices_of(
    numbered: tuple[int, HeartConfig], voxels: VoxelsConfig, preprocessing: PreprocessingConfig, seed: int
) -> Slices:
    return _on_grid(*whole_heart(numbered, voxels, seed), preprocessing)


def _on_grid(heart: HeartMasks, row: HeartRow, preprocessing: PreprocessingConfig) -> Slices:
    stacks = []
    for phase in PHASES:
        found = prepare_mask(heart.masks[phase], heart.spacing_mm, preprocessing, row.name)
        told = row.conditions(phase) | {"slice_level": slice_levels(heart.masks[phase])[found.kept]}
        name = f"{row.name} {phase}"
        stacks.append(masks_alone(found.masks, columns(len(found.masks), told), found.spacing_mm, name))
    both = concatenate(stacks)
    return replace(both, patients=np.zeros_like(both.patients), records=(replace(both.records[0], patient=row.name),))
