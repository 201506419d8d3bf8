"""What a review of plausibility shows: hearts to rate, real ones beside as many synthetic, and one person's heart at
several severities, to be put in order; and the key that says what is what."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from cmrfed.conditions import UNKNOWN, VENDORS
from cmrfed.config import Disease, HeartConfig, PlausibilityConfig, Stage, UserError
from cmrfed.core.progress import Progress, counted, shifted
from cmrfed.generators.encoders import has_learnt
from cmrfed.reader_study.hearts import Heart, HeartImages, Painter, patients_heart
from cmrfed.slices import Patient, Slices

_SLICE_MM = 8.0
"""From slice to slice, where no real heart says it."""
_HEALTHY: Disease = "NOR"
_COURSE_OF = {"CIA": "ASD", "FALL": "TOF"}
"""Diseases by M&Ms-2's names for them, as `cmrfed.anatomy` calls their courses."""
_PEOPLE = 20
"""Tries at a person whose heart can be drawn at every severity; nearly always the first one can."""


class HeartOrigin(Stage):
    """What one rated heart is. severity: None of a real one, of which nobody knows it."""

    synthetic: bool
    vendor: str
    pathology: str
    severity: float | None


class CourseOrigin(Stage):
    """What one task of ordering is: the severity of each of its hearts."""

    pathology: str
    severities: Annotated[dict[str, float], Field(min_length=2)]


class PlausibilityKey(Stage):
    """The answers to a review: kept from readers until they are done. of: what the synthetic hearts were drawn by."""

    mode: Literal["plausibility"] = "plausibility"
    study: str
    of: str
    hearts: dict[str, HeartOrigin]
    orderings: dict[str, CourseOrigin]


@dataclass(frozen=True, eq=False)
class Ordering:
    """One person's heart at several severities, in the order in which it is first shown. pathology: which a reader is
    told, or would not know what is to be severe."""

    name: str
    pathology: str
    hearts: tuple[Heart, ...]


@dataclass(frozen=True, eq=False)
class Review:
    """All that is shown, in its order; and the key, which the page never sees. patients: whether any real heart is
    among them."""

    hearts: tuple[Heart, ...]
    orderings: tuple[Ordering, ...]
    key: PlausibilityKey
    patients: bool


@dataclass(frozen=True)
class _Asked:
    """A synthetic heart to be drawn for rating."""

    pathology: Disease
    severity: float
    vendor: str
    slice_mm: float


def choose_review(
    real: Slices | None, painter: Painter, config: PlausibilityConfig, of: str, seed: int, progress: Progress
) -> Review:
    """Choose and draw what is shown, shuffled.

    real: held-out slices, of which half of the rated hearts are, each a patient's of his own; None where no patient is
    shown. Every synthetic heart is nobody's; each has the vendor, the distance of slices and, where it has a course,
    the disease of a real one, so that none of these tells them apart. `seed` decides who is shown and what is drawn,
    never the names or the order. Raises UserError where patients are to be shown and none has both phases.
    """
    random = np.random.default_rng(seed)
    patients = _patients(real, config.hearts // 2, random) if real is not None and config.hearts else []
    vendors = sorted({record.vendor for record, _, _ in patients}) or _learnt_vendors(painter)
    asked = _asked(patients, vendors, config, random)
    steps = len(asked) + config.orderings
    hearts = [(Heart.of(images), _origin(False, record.vendor, record.pathology)) for record, images, _ in patients]
    hearts += [_synthetic(painter, one, random) for one in counted(asked, steps, progress)]
    orderings = []
    for number in counted(range(config.orderings), steps, shifted(progress, len(asked), steps)):
        disease, vendor = config.pathology[number % len(config.pathology)], vendors[number % len(vendors)]
        orderings.append(_ordering(painter, disease, config.severities, vendor, random))
    return _shuffled(hearts, orderings, of, bool(patients))


def _synthetic(painter: Painter, asked: _Asked, random: np.random.Generator) -> tuple[Heart, HeartOrigin]:
    request = HeartConfig(pathology=asked.pathology, severity=asked.severity)
    images = painter.heart(request, int(random.integers(2**62)), asked.vendor, asked.slice_mm)
    return Heart.of(images), _origin(True, asked.vendor, asked.pathology, asked.severity)


def _origin(synthetic: bool, vendor: str, pathology: str, severity: float | None = None) -> HeartOrigin:
    return HeartOrigin(synthetic=synthetic, vendor=vendor, pathology=pathology, severity=severity)


def _patients(real: Slices, most: int, random: np.random.Generator) -> list[tuple[Patient, HeartImages, float]]:
    """At most so many, at least one, each with the distance of the slices."""
    found: list[tuple[Patient, HeartImages, float]] = []
    for patient in random.permutation(real.number_of_patients):
        images = patients_heart(real, int(patient)) if len(found) < max(1, most) else None
        if images is not None:
            slice_mm = float(real.spacing_mm[real.of_patient(int(patient))[0], 0])
            found.append((real.records[patient], images, slice_mm))
    if not found:
        raise UserError("reader study: no held-out patient has both phases; give plausibility.real=false, or model=")
    return found


def _learnt_vendors(painter: Painter) -> list[str]:
    return [name for name in VENDORS if has_learnt(painter.generator, "vendor", name)] or [UNKNOWN]


def _asked(
    patients: Sequence[tuple[Patient, HeartImages, float]],
    vendors: Sequence[str],
    config: PlausibilityConfig,
    random: np.random.Generator,
) -> list[_Asked]:
    """As many as there are real hearts, like these; without them as many as are to be rated."""
    choices: tuple[Disease, ...] = (_HEALTHY, *config.pathology)
    rows: list[tuple[Disease, str, float]]
    if not patients:
        rows = [(choices[n % len(choices)], vendors[n % len(vendors)], _SLICE_MM) for n in range(config.hearts)]
    else:
        known = [_disease(record.pathology, choices[n % len(choices)]) for n, (record, _, _) in enumerate(patients)]
        rows = [(disease, record.vendor, mm) for disease, (record, _, mm) in zip(known, patients, strict=True)]
    severities = random.permutation(np.resize(config.severities, len(rows)))
    return [
        _Asked(disease, 0.0 if disease == _HEALTHY else float(severity), vendor, slice_mm)
        for (disease, vendor, slice_mm), severity in zip(rows, severities, strict=True)
    ]


def _disease(pathology: str, otherwise: Disease) -> Disease:
    name = _COURSE_OF.get(pathology, pathology)
    return next((one for one in get_args(Disease) if one == name), otherwise)


def _ordering(
    painter: Painter, disease: Disease, severities: Sequence[float], vendor: str, random: np.random.Generator
) -> tuple[Ordering, CourseOrigin]:
    requests = [HeartConfig(pathology=disease, severity=severity) for severity in severities]
    people = (painter.course(requests, int(random.integers(2**62)), vendor) for _ in range(_PEOPLE))
    images = next((one for one in people if one is not None), None)
    if images is None:
        raise UserError(
            f"plausibility: none of {_PEOPLE} people has {disease} at every severity; give fewer severities"
        )
    hearts = [Heart.of(one) for one in images]
    truth = {heart.name: severity for heart, severity in zip(hearts, severities, strict=True)}
    order = secrets.SystemRandom().sample(hearts, len(hearts))
    # by name, since a file keeps the order in which it is written
    origin = CourseOrigin(pathology=disease, severities=dict(sorted(truth.items())))
    return Ordering(secrets.token_hex(4), disease, tuple(order)), origin


def _shuffled(
    hearts: list[tuple[Heart, HeartOrigin]], orderings: list[tuple[Ordering, CourseOrigin]], of: str, patients: bool
) -> Review:
    secrets.SystemRandom().shuffle(hearts)
    secrets.SystemRandom().shuffle(orderings)
    key = PlausibilityKey(
        study=secrets.token_hex(6),
        of=of,
        hearts={heart.name: origin for heart, origin in hearts},
        orderings={ordering.name: origin for ordering, origin in orderings},
    )
    return Review(tuple(heart for heart, _ in hearts), tuple(ordering for ordering, _ in orderings), key, patients)
