"""Every patient's function from the masks of some slices: volumes, ejection fractions and left ventricular mass.

It is measured visit by visit, since a heart changes in between, and averaged over a patient's visits. Volumes are of
the slices that were prepared: with `preprocessing.central_slices` they are of those alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cmrfed.conditions import PHASES
from cmrfed.evaluation.utility.metrics.paired import PerPatient
from cmrfed.shapes import Label
from cmrfed.slices import Patient, Slices
from cmrfed.volumetry import MYOCARDIUM_G_PER_ML, ejection_fraction, structure_ml

MEASURES = ("lv_edv_ml", "lv_esv_ml", "lv_ef_percent", "lv_mass_g", "rv_edv_ml", "rv_esv_ml", "rv_ef_percent")
"""What is measured of a heart, by its name in a report."""

PerVisit = Float[np.ndarray, " visit"]


@dataclass(frozen=True, eq=False)
class CardiacFunction:
    """One value a patient for every measure; an ejection fraction is NaN where the end-diastolic volume is 0."""

    patients: tuple[Patient, ...]
    values: dict[str, PerPatient]


@dataclass(frozen=True)
class Visit:
    """A visit of a patient with a stack at end diastole and one at end systole; the numbers are those of `Slices`."""

    patient: Patient
    number: int

    def rows(self, slices: Slices, phase: str) -> Bool[np.ndarray, " slice"]:
        """Which slices are of this visit at this phase; none where the patient is not here."""
        patient = slices.records.index(self.patient) if self.patient in slices.records else -1
        of_visit = (slices.patients == patient) & (slices.visits == self.number)
        return of_visit & (slices.conditions["phase"] == PHASES.index(phase))


def cardiac_function(slices: Slices) -> CardiacFunction:
    """Function, as the masks of these slices have it, of every patient with a visit that shows both phases."""
    visits = visits_with_both_phases(slices)
    values = function_of_visits(slices, visits)
    return CardiacFunction(patients_of(visits), {name: by_patient(visits, values[name]) for name in MEASURES})


def function_of_visits(slices: Slices, visits: Sequence[Visit]) -> dict[str, PerVisit]:
    """Every measure of these visits, by name."""
    volumes = {
        (label, phase): np.array([_volume_ml(slices, visit, label, phase) for visit in visits])
        for label in (Label.LV, Label.MYO, Label.RV)
        for phase in ("ED", "ES")
    }
    values = {"lv_mass_g": MYOCARDIUM_G_PER_ML * volumes[Label.MYO, "ED"]}
    for name, label in (("lv", Label.LV), ("rv", Label.RV)):
        full, emptied = volumes[label, "ED"], volumes[label, "ES"]
        values |= {f"{name}_edv_ml": full, f"{name}_esv_ml": emptied}
        values[f"{name}_ef_percent"] = 100 * ejection_fraction(full, emptied)
    return values


def visits_with_both_phases(slices: Slices) -> tuple[Visit, ...]:
    """In order of patients; without a stack at either phase of one visit there is no ejection fraction."""
    return tuple(_both_phases(slices))


def _both_phases(slices: Slices) -> Iterator[Visit]:
    both = {PHASES.index("ED"), PHASES.index("ES")}
    for patient, record in enumerate(slices.records):
        own = slices.of_patient(patient)
        for number in np.unique(slices.visits[own]):
            if both <= set(slices.conditions["phase"][own[slices.visits[own] == number]]):
                yield Visit(record, int(number))


def patients_with_both_phases(slices: Slices) -> tuple[Patient, ...]:
    """Who has such a visit, in order."""
    return patients_of(visits_with_both_phases(slices))


def patients_of(visits: Sequence[Visit]) -> tuple[Patient, ...]:
    """Each patient once, in order."""
    return tuple(dict.fromkeys(visit.patient for visit in visits))


def by_patient(
    visits: Sequence[Visit], values: Float[np.ndarray, " visit *measure"]
) -> Float[np.ndarray, " patient *measure"]:
    """The mean over each patient's visits of what is defined, in the order of `patients_of`; NaN where nothing is."""
    owners = patients_of(visits)
    numbers = np.array([owners.index(visit.patient) for visit in visits], dtype=np.int64)
    defined = np.isfinite(values)
    total, count = np.zeros((len(owners), *values.shape[1:])), np.zeros((len(owners), *values.shape[1:]))
    np.add.at(total, numbers, np.where(defined, values, 0.0))
    np.add.at(count, numbers, defined)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _volume_ml(slices: Slices, visit: Visit, label: Label, phase: str) -> float:
    rows = visit.rows(slices, phase)
    return structure_ml(slices.masks[rows], label, slices.spacing_mm[rows])
