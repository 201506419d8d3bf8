"""Stacks summed up by site: numbers of many patients, and no name."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cmrfed.shapes import STRUCTURES, Label
from cmrfed.verification.facts import StackFacts
from cmrfed.volumetry import MYOCARDIUM_G_PER_ML, ejection_fraction

SiteField = Literal["dataset", "vendor", "centre", "pathology", "phase"]
SITE: tuple[SiteField, ...] = ("dataset", "vendor", "centre")
"""What makes a site where nothing else is asked for."""

MedianRange = tuple[float, float, float]
"""Lowest, median and highest."""


@dataclass(frozen=True)
class SiteSummary:
    """What the stacks of one site are like.

    site: its value of each field it was formed by. phases, vendors, pathologies: patients of each.
    labels: stacks that show each structure. unlabelled: the part of all voxels that nobody has labelled, 0 to 1;
    unlabelled_stacks: those without any structure. matrices: stacks of each "rows x columns". stored_as, turned: stacks
    of each. mask_in_place, mask_elsewhere: stacks whose mask has the place of the image or another, by their headers.
    intensity: lowest minimum, median 99th percentile, highest maximum.
    Clinical measures are over patients' visits with what they need: LV and RV volume at end diastole, what part of it
    is ejected until end systole, and the mass of the myocardium at end diastole. None where no visit has it.
    """

    site: dict[str, str]
    patients: int
    stacks: int
    slices: int
    phases: dict[str, int]
    vendors: dict[str, int]
    pathologies: dict[str, int]
    labels: dict[str, int]
    unlabelled_stacks: int
    unlabelled: float
    in_plane_mm: MedianRange
    slice_mm: MedianRange
    slices_a_stack: MedianRange
    matrices: dict[str, int]
    stored_as: dict[str, int]
    turned: dict[str, int]
    mask_in_place: int
    mask_elsewhere: int
    intensity: MedianRange
    lv_edv_ml: MedianRange | None
    lv_ejection_fraction: MedianRange | None
    rv_edv_ml: MedianRange | None
    rv_ejection_fraction: MedianRange | None
    lv_mass_g: MedianRange | None


def summarise(stacks: Iterable[StackFacts], by: Sequence[SiteField]) -> list[SiteSummary]:
    """A summary for every combination of these fields, in alphabetical order."""
    groups: defaultdict[tuple[str, ...], list[StackFacts]] = defaultdict(list)
    for stack in stacks:
        groups[tuple(getattr(stack, field) for field in by)].append(stack)
    return [_summary(dict(zip(by, values, strict=True)), groups[values]) for values in sorted(groups)]


def _summary(site: dict[str, str], stacks: list[StackFacts]) -> SiteSummary:
    visits = _by_visit(stacks)
    return SiteSummary(
        site=site,
        patients=len({stack.patient for stack in stacks}),
        stacks=len(stacks),
        slices=sum(stack.shape[0] for stack in stacks),
        phases=_patients_of_each(stacks, lambda stack: stack.phase),
        vendors=_patients_of_each(stacks, lambda stack: stack.vendor),
        pathologies=_patients_of_each(stacks, lambda stack: stack.pathology),
        labels={structure.name: sum(stack.voxels[structure] > 0 for stack in stacks) for structure in STRUCTURES},
        unlabelled_stacks=sum(not any(stack.voxels.values()) for stack in stacks),
        unlabelled=float(np.average([s.unlabelled for s in stacks], weights=[np.prod(s.shape) for s in stacks])),
        in_plane_mm=_range(distance for stack in stacks for distance in stack.spacing_mm[1:]),
        slice_mm=_range(stack.spacing_mm[0] for stack in stacks),
        slices_a_stack=_range(stack.shape[0] for stack in stacks),
        matrices=_counted(f"{stack.shape[1]} x {stack.shape[2]}" for stack in stacks),
        stored_as=_counted(stack.stored_as for stack in stacks),
        turned=_counted(stack.turned for stack in stacks),
        mask_in_place=sum(not stack.mask_is_elsewhere for stack in stacks if stack.mask_offset_mm is not None),
        mask_elsewhere=sum(stack.mask_is_elsewhere for stack in stacks),
        intensity=_intensity(stacks),
        lv_edv_ml=_measured(visits, lambda own: _volume(own, "ED", Label.LV)),
        lv_ejection_fraction=_measured(visits, lambda own: _ejected(own, Label.LV)),
        rv_edv_ml=_measured(visits, lambda own: _volume(own, "ED", Label.RV)),
        rv_ejection_fraction=_measured(visits, lambda own: _ejected(own, Label.RV)),
        lv_mass_g=_measured(visits, _mass_g),
    )


PhasesOfVisit = dict[str, StackFacts]
"""The stacks of one visit of a patient, by phase."""


def _by_visit(stacks: list[StackFacts]) -> list[PhasesOfVisit]:
    visits: defaultdict[tuple[str, str], PhasesOfVisit] = defaultdict(dict)
    for stack in stacks:
        visits[stack.patient, stack.visit][stack.phase] = stack
    return list(visits.values())


def _patients_of_each(stacks: list[StackFacts], value: Callable[[StackFacts], str]) -> dict[str, int]:
    return _counted(found for _, found in {(stack.patient, value(stack)) for stack in stacks})


def _counted(values: Iterable[str]) -> dict[str, int]:
    """Most frequent first, then by the alphabet."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _range(values: Iterable[float]) -> MedianRange:
    found = list(values)
    return float(min(found)), float(np.median(found)), float(max(found))


def _intensity(stacks: list[StackFacts]) -> MedianRange:
    lowest, _, high, highest = zip(*(stack.intensity for stack in stacks), strict=True)
    return min(lowest), float(np.median(high)), max(highest)


def _measured(visits: list[PhasesOfVisit], measure: Callable[[PhasesOfVisit], float | None]) -> MedianRange | None:
    found = [value for value in map(measure, visits) if value is not None]
    return _range(found) if found else None


def _volume(visit: PhasesOfVisit, phase: str, structure: Label) -> float | None:
    return visit[phase].volume_ml(structure) if phase in visit else None


def _ejected(visit: PhasesOfVisit, ventricle: Label) -> float | None:
    diastole, systole = (_volume(visit, phase, ventricle) for phase in ("ED", "ES"))
    if diastole is None or systole is None:
        return None
    return float(ejection_fraction(np.array(diastole), np.array(systole)))


def _mass_g(visit: PhasesOfVisit) -> float | None:
    volume_ml = _volume(visit, "ED", Label.MYO)
    return None if volume_ml is None else volume_ml * MYOCARDIUM_G_PER_ML
