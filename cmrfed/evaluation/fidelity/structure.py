"""Distributions of what a cardiologist would measure, in every set.

An image that is drawn for a mask has that mask's shapes by construction. So shapes are measured in the outlines that
the segmenter finds in the images, of real ones too; only where there is no segmenter, and the masks are nobody's, in
the masks themselves.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from cmrfed.conditions import PHASES
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.fidelity.metrics import ByArm, PatientFeatures, scores_beside_floor
from cmrfed.evaluation.fidelity.metrics.structure import (
    APPEARANCES,
    SHAPES,
    VOLUMES,
    distribution_distances,
    patient_volumes,
)
from cmrfed.evaluation.fidelity.outlines import Outlines
from cmrfed.evaluation.fidelity.sets import Compared, outlines_of
from cmrfed.shapes import Mask
from cmrfed.slices import Slices

Measure = Callable[[Slices], PatientFeatures]
_Job = tuple[Measure, tuple[str, ...], dict[str, Slices], Slices, Slices]


def measure_structure(sets: Compared, outlines: Outlines | None, bar: ProgressBar) -> ByArm:
    """Scores by arm and name: of slices, and of patients whose every slice is there."""
    found: ByArm = {arm: {} for arm in sets.made}
    labelled = {arm: made.labelled() for arm, made in sets.made.items() if len(made.labelled())}
    test, reference = sets.test.labelled(), sets.reference.labelled()
    if not (labelled and len(test) and len(reference)):
        return found
    seen = {arm: made for arm, made in labelled.items() if outlines or arm not in sets.paired}
    whole = {arm: whole_patients(made, _all_of(sets, arm)) for arm, made in seen.items()}
    whole_test = whole_patients(test, sets.subject.held_out)
    others = as_many_patients(sets.subject.train.labelled(), whole_test, sets.subject.seed)
    jobs: list[_Job] = [
        (_appearances, tuple(APPEARANCES), labelled, reference, test),
        (partial(_shapes, outlines), tuple(SHAPES), seen, reference, test),
        (partial(volumes_by_visit, outlines), VOLUMES, whole, others, whole_test),
    ]
    with bar("structure of hearts") as progress:
        for done, job in enumerate(jobs, start=1):
            _merge(found, _compare(*job, seed=sets.subject.seed))
            progress(done, len(jobs))
    return found


def _compare(
    measure: Measure, names: tuple[str, ...], made: dict[str, Slices], reference: Slices, test: Slices, seed: int
) -> ByArm:
    """Distances of distributions, for the arms that have two patients, as both real sets must."""
    enough = {arm: slices for arm, slices in made.items() if slices.number_of_patients >= 2}
    if not enough or min(reference.number_of_patients, test.number_of_patients) < 2:
        return {}
    measured = {arm: measure(slices) for arm, slices in enough.items()}
    distances = partial(distribution_distances, names=names)
    return scores_beside_floor(distances, measured, measure(reference), measure(test), seed=seed)


def _appearances(slices: Slices) -> PatientFeatures:
    """A column for each of `APPEARANCES`, in the mask that the image was drawn for, or was outlined by hand."""
    images, masks = np.asarray(slices.images), outlines_of(slices).numpy()
    rows = [
        [measure(image, mask, spacing_mm[1:]) for measure in APPEARANCES.values()]
        for image, mask, spacing_mm in zip(images, masks, slices.spacing_mm, strict=True)
    ]
    return PatientFeatures(torch.tensor(rows, dtype=torch.float64), torch.from_numpy(slices.patients))


def _shapes(outlines: Outlines | None, slices: Slices) -> PatientFeatures:
    """A column for each of `SHAPES`."""
    masks = _outlines(outlines, slices).numpy()
    rows = [
        [measure(mask, spacing_mm[1:]) for measure in SHAPES.values()]
        for mask, spacing_mm in zip(masks, slices.spacing_mm, strict=True)
    ]
    return PatientFeatures(torch.tensor(rows, dtype=torch.float64), torch.from_numpy(slices.patients))


def volumes_by_visit(outlines: Outlines | None, slices: Slices) -> PatientFeatures:
    """A row a patient's visit, a column for each of `VOLUMES`."""
    masks = _outlines(outlines, slices).numpy()
    visits = np.unique(np.stack([slices.patients, slices.visits], axis=1), axis=0)
    rows = []
    for patient, visit in visits:
        own = np.flatnonzero((slices.patients == patient) & (slices.visits == visit))
        phases = slices.conditions["phase"][own]
        stacks = {PHASES[phase]: masks[own[phases == phase]] for phase in np.unique(phases)}
        rows.append(list(patient_volumes(stacks, slices.spacing_mm[own[0]]).values()))
    return PatientFeatures(torch.tensor(rows, dtype=torch.float64), torch.from_numpy(visits[:, 0]))


def _outlines(outlines: Outlines | None, slices: Slices) -> Mask:
    return outlines.of(slices) if outlines else outlines_of(slices)


def whole_patients(slices: Slices, everything: Slices) -> Slices:
    """The patients of whom no slice of `everything` is missing: a part of a stack has no volume."""
    here, there = (Counter(side.patient_names[patient] for patient in side.patients) for side in (slices, everything))
    return slices.subset(name for name, count in here.items() if count == there[name])


def as_many_patients(slices: Slices, like: Slices, seed: int) -> Slices:
    """Patients with all their slices, as many of each vendor as `like` has, as far as there are so many."""
    random, chosen = np.random.default_rng(seed), []
    for vendor, count in Counter(like.vendors).items():
        own = [record.patient for record in slices.records if record.vendor == vendor]
        chosen += random.permutation(own)[:count].tolist()
    return slices.subset(chosen)


def _all_of(sets: Compared, arm: str) -> Slices:
    """All slices there are of the patients whose masks an arm drew for."""
    return sets.subject.held_out if arm in sets.paired else sets.made[arm]


def _merge(into: ByArm, more: ByArm) -> None:
    for arm, scores in more.items():
        into[arm] |= scores
