"""Hearts as a reader of whole stacks sees them: both phases, level by level from base to apex. Patients' come from
slices, synthetic ones from nobody's masks and a generator."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from cmrfed.anatomy import course_slices
from cmrfed.conditions import CONDITIONS, PHASES
from cmrfed.config import HeartConfig, PreprocessingConfig, SamplingConfig, VoxelsConfig
from cmrfed.generators import Generator
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices
from cmrfed.volumetry import slice_levels

SHOWN_PHASES = ("ED", "ES")
_SLICE_MM = (2.0, 20.0)
"""What a stack of `VoxelsConfig` may have from one slice to the next."""

HeartImages = Float32[np.ndarray, "2 level size size"]
"""End diastole and end systole, from base to apex, in [-1, 1]; a level that a phase does not have is NaN."""


@dataclass(frozen=True, eq=False)
class Heart:
    """One heart under a random name, and nothing of what it is."""

    name: str
    images: HeartImages

    @classmethod
    def of(cls, images: HeartImages) -> "Heart":
        return cls(secrets.token_hex(4), images)


@dataclass(frozen=True, eq=False)
class Painter:
    """A generator, the grid that it draws on, and how it is drawn from."""

    generator: Generator
    preprocessing: PreprocessingConfig
    sampling: SamplingConfig

    def course(
        self, requests: Sequence[HeartConfig], person: int, vendor: str, slice_mm: float
    ) -> list[HeartImages] | None:
        """One person's heart as each request has it: `person` is the seed of the shape and of the noise, so that only
        what was asked differs. None where that person's heart cannot be drawn at all of them."""
        voxels = VoxelsConfig(slice_mm=min(max(slice_mm, _SLICE_MM[0]), _SLICE_MM[1]))
        masks = course_slices(requests, voxels, self.preprocessing, person)
        return None if masks is None else [self._painted(one, person, vendor) for one in masks]

    def _painted(self, masks: Slices, person: int, vendor: str) -> HeartImages:
        """Phases have noise of their own, as in `cmrfed generate`."""
        code = np.full(len(masks), CONDITIONS["vendor"].read(vendor))
        told = replace(masks, conditions={**masks.conditions, "vendor": code})
        stacks = []
        for number, phase in enumerate(SHOWN_PHASES):
            stack = told.take(_base_to_apex(told, _rows(told, phase)))
            noise = int(np.random.SeedSequence([person, number]).generate_state(1)[0])
            stacks.append(np.asarray(synthesise(self.generator, stack, self.sampling, noise).images))
        return level_by_level(stacks)


def patients_heart(slices: Slices, patient: int) -> HeartImages | None:
    """Of the patient at that index, as the first visit with both phases has it; None where no visit has."""
    own = slices.of_patient(patient)
    for visit in np.unique(slices.visits[own]):
        rows = own[slices.visits[own] == visit]
        stacks = [rows[np.isin(rows, _rows(slices, phase))] for phase in SHOWN_PHASES]
        if all(len(stack) for stack in stacks):
            return level_by_level([np.asarray(slices.images[_base_to_apex(slices, stack)]) for stack in stacks])
    return None


def level_by_level(stacks: Sequence[Float32[np.ndarray, "_ size size"]]) -> HeartImages:
    """Stacks that begin at the base and end at one level: the apex hardly moves, and at end systole the base has come
    down to it, by a slice or two of which the mask then shows no ventricle."""
    levels = max(map(len, stacks))
    images = np.full((len(stacks), levels, *stacks[0].shape[1:]), np.nan, np.float32)
    for shown, stack in zip(images, stacks, strict=True):
        shown[levels - len(stack) :] = stack
    return images


def _rows(slices: Slices, phase: str) -> Int64[np.ndarray, " n"]:
    return np.flatnonzero(slices.conditions["phase"] == PHASES.index(phase))


def _base_to_apex(slices: Slices, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """As they were acquired, or the other way round; as they were where that cannot be told."""
    levels = slice_levels(np.asarray(slices.masks[rows]))
    return rows[::-1].copy() if levels[0] < levels[-1] else rows
