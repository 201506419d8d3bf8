"""What else of an arm is checked beside its attacks: copies, a site's style, and the patients who are most exposed."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from cmrfed.evaluation.leakage.attacks import (
    CopyTest,
    Evidence,
    copying,
    exposure,
    hashed_names,
    name_key,
    style_recovery,
    style_statistics,
)
from cmrfed.evaluation.leakage.scene import Scene, patient_slices
from cmrfed.evaluation.schema import Copies, ExposedPatient, StyleRecovery
from cmrfed.evaluation.subject import Subject, Synthetic, few_of_each, thin
from cmrfed.slices import Patient, Slices

_FEWEST_AT_A_SITE = 3
"""Patients a site needs on either side before its style is looked for."""


def copies(scene: Scene, made: Synthetic, space: Evidence) -> Copies:
    """Images for held-out masks, against the training archive, beside the real images of those masks."""
    subject, few = scene.subject, scene.few
    train = (
        subject.train if space == "pixels" else few.subset(set(few.patient_names) & set(subject.train.patient_names))
    )
    count = min(len(made.shown), len(subject.shown))
    sides = (scene.shown(thin(side, count, subject.seed), space) for side in (made.shown, subject.shown))
    test = CopyTest(*(scene.points(side, space) for side in (*sides, train)))
    return Copies.model_validate(copying(test, subject.bootstrap, subject.seed))


def styles(scene: Scene, made: Synthetic) -> dict[str, StyleRecovery]:
    """By vendor, whether a site of that vendor can be told from images that were drawn for its masks, for vendors with
    two sites or more on either side. A site is a centre of a data set."""
    subject = scene.subject
    if not made.paired:
        return {}
    found = {}
    for vendor in sorted(set(subject.shown.vendors) & set(subject.train.vendors)):
        train, shown = (_at_sites(part, vendor, subject) for part in (subject.train, subject.shown))
        if len(set(map(_site, shown.records))) < 2:
            continue
        drawn = made.shown.subset(shown.patient_names)
        accuracy = style_recovery(
            style_statistics(patient_slices(few_of_each(train, 4))), [*map(_site, train.records)],
            style_statistics(patient_slices(shown)), style_statistics(patient_slices(drawn)),
            [*map(_site, shown.records)], subject.bootstrap, subject.seed,
        )  # fmt: skip
        found[vendor] = StyleRecovery.model_validate(accuracy)
    return found


def _at_sites(part: Slices, vendor: str, subject: Subject) -> Slices:
    """The vendor's patients at sites that have a few patients on either side."""
    counts = [
        Counter(_site(one) for one in side.records if one.vendor == vendor) for side in (subject.train, subject.shown)
    ]
    sites = {site for site in counts[0] if min(count[site] for count in counts) >= _FEWEST_AT_A_SITE}
    return part.subset(one.patient for one in part.records if one.vendor == vendor and _site(one) in sites)


def _site(patient: Patient) -> str:
    return f"{patient.dataset} {patient.centre}"


def worst_patients(scene: Scene, scores: Mapping[str, np.ndarray]) -> list[ExposedPatient]:
    """The most exposed members by a keyed hash of their names; the key stays with the patients' data."""
    candidates = scene.candidates
    exposed, rank = exposure(scores, candidates)
    names = [one.patient for one, member in zip(candidates.patients, candidates.member, strict=True) if member]
    hashes = hashed_names(names, name_key(scene.subject.cache.parent / "names.key"))
    order = np.lexsort((-rank, -exposed))[: scene.config.worst_patients]
    return [ExposedPatient(patient=hashes[one], exposure=float(exposed[one]), rank=float(rank[one])) for one in order]
