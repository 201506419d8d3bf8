"""Every patient's function from the masks of some slices: volumes, ejection fractions and left ventricular mass.

Volumes are of the slices that were prepared: with `preprocessing.central_slices` they are of those alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cmrfed.shapes import PHASES, Label
from cmrfed.slices import Patient, Slices
from cmrfed.volumetry import MYOCARDIUM_G_PER_ML, ejection_fraction, structure_ml

MEASURES = ("lv_edv_ml", "lv_esv_ml", "lv_ef_percent", "lv_mass_g", "rv_edv_ml", "rv_esv_ml", "rv_ef_percent")
"""What is measured of a heart, by its name in a report."""

PerPatient = Float[np.ndarray, " patient"]


@dataclass(frozen=True, eq=False)
class CardiacFunction:
    """One value a patient for every measure; an ejection fraction is NaN where the end-diastolic volume is 0."""

    patients: tuple[Patient, ...]
    values: dict[str, PerPatient]


def cardiac_function(slices: Slices) -> CardiacFunction:
    """Function, as the masks of these slices have it, of every patient with a stack at both phases."""
    patients = patients_with_both_phases(slices)
    volumes = {
        (label, phase): np.array([_volume_ml(slices, patient, label, phase) for patient in patients])
        for label in (Label.LV, Label.MYO, Label.RV)
        for phase in ("ED", "ES")
    }
    values = {"lv_mass_g": MYOCARDIUM_G_PER_ML * volumes[Label.MYO, "ED"]}
    for name, label in (("lv", Label.LV), ("rv", Label.RV)):
        full, emptied = volumes[label, "ED"], volumes[label, "ES"]
        values |= {f"{name}_edv_ml": full, f"{name}_esv_ml": emptied}
        values[f"{name}_ef_percent"] = 100 * ejection_fraction(full, emptied)
    return CardiacFunction(patients, {name: values[name] for name in MEASURES})


def patients_with_both_phases(slices: Slices) -> tuple[Patient, ...]:
    """Who has a stack at end diastole and one at end systole; without both there is no ejection fraction."""
    phases = [set(slices.conditions[slices.of_patient(patient), 1]) for patient in range(slices.number_of_patients)]
    both = {PHASES.index("ED"), PHASES.index("ES")}
    return tuple(record for record, found in zip(slices.records, phases, strict=True) if both <= found)


def rows_at(slices: Slices, patient: Patient, phase: str) -> Bool[np.ndarray, " slice"]:
    """Which slices are this patient's at this phase; none where the patient is not here."""
    of_patient = slices.patients == (slices.records.index(patient) if patient in slices.records else -1)
    return of_patient & (slices.conditions[:, 1] == PHASES.index(phase))


def _volume_ml(slices: Slices, patient: Patient, label: Label, phase: str) -> float:
    rows = rows_at(slices, patient, phase)
    return structure_ml(slices.masks[rows], label, slices.spacing_mm[rows])
