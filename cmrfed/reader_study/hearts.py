"""Hearts as a reader of whole stacks sees them: both phases, level by level from base to apex. Patients' come from
slices, synthetic ones from nobody's masks and a generator."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from cmrfed.anatomy.slices import course_slices, heart_slices
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

    def heart(self, asked: HeartConfig, person: int, vendor: str, slice_mm: float) -> HeartImages:
        """A heart as `cmrfed generate` draws one: each slice and each phase has noise of its own beside what all of
        them have in common. `person` is the seed of its shape and of the noise."""
        voxels = VoxelsConfig(slice_mm=min(max(slice_mm, _SLICE_MM[0]), _SLICE_MM[1]))
        masks = _of_vendor(heart_slices([asked], voxels, self.preprocessing, person), vendor)
        *own, common = map(int, np.random.SeedSequence(person).generate_state(len(SHOWN_PHASES) + 1))
        stacks = [_base_to_apex(masks, phase) for phase in SHOWN_PHASES]
        return level_by_level([self._drawn(stack, seed, common) for stack, seed in zip(stacks, own, strict=True)])

    def course(self, requests: Sequence[HeartConfig], person: int, vendor: str) -> list[HeartImages] | None:
        """One person's heart as each request has it, all slices from one noise, so that side by side they differ in
        what was asked and not in where a slice lies. None where that person's heart cannot be drawn at all of them."""
        hearts = course_slices(requests, VoxelsConfig(), self.preprocessing, person)
        return None if hearts is None else [self._alike(_of_vendor(masks, vendor), person) for masks in hearts]

    def _alike(self, masks: Slices, noise: int) -> HeartImages:
        """A generator of whole stacks has one noise for a stack, another of single slices one for each."""
        stacks = []
        for phase in SHOWN_PHASES:
            stack = _base_to_apex(masks, phase)
            whole = self.generator.config.levels > 1
            parts = [stack] if whole else [stack.take(np.array([row])) for row in range(len(stack))]
            stacks.append(np.concatenate([self._drawn(part, noise) for part in parts]))
        return level_by_level(stacks)

    def _drawn(self, masks: Slices, noise: int, common: int | None = None) -> Float32[np.ndarray, "slice size size"]:
        return np.asarray(synthesise(self.generator, masks, self.sampling, noise, heart_seed=common).images)


def patients_heart(slices: Slices, patient: int) -> HeartImages | None:
    """Of the patient at that index, as the first visit with both phases has it; None where no visit has."""
    own = slices.take(slices.of_patient(patient))
    for visit in np.unique(own.visits):
        both = own.take(np.flatnonzero(own.visits == visit))
        stacks = [_base_to_apex(both, phase) for phase in SHOWN_PHASES]
        if all(len(stack) for stack in stacks):
            return level_by_level([np.asarray(stack.images) for stack in stacks])
    return None


def level_by_level(stacks: Sequence[Float32[np.ndarray, "_ size size"]]) -> HeartImages:
    """Stacks that begin at the base and end at one level: the apex hardly moves, and at end systole the base has come
    down to it, by a slice or two of which the mask then shows no ventricle."""
    levels = max(map(len, stacks))
    images = np.full((len(stacks), levels, *stacks[0].shape[1:]), np.nan, np.float32)
    for shown, stack in zip(images, stacks, strict=True):
        shown[levels - len(stack) :] = stack
    return images


def _of_vendor(masks: Slices, vendor: str) -> Slices:
    code = np.full(len(masks), CONDITIONS["vendor"].read(vendor))
    return replace(masks, conditions={**masks.conditions, "vendor": code})


def _base_to_apex(slices: Slices, phase: str) -> Slices:
    """The stack at that phase as it was acquired, or the other way round; as it was where that cannot be told."""
    rows = np.flatnonzero(slices.conditions["phase"] == PHASES.index(phase))
    levels = slice_levels(np.asarray(slices.masks[rows]))
    return slices.take(rows[::-1].copy() if len(rows) and levels[0] < levels[-1] else rows)
