"""The heart's function from its masks: volumes by summing discs, ejection fraction and left ventricular mass.

V = sum over slices of area x distance between slices (Simpson's rule as MRI reads it); EF = (EDV - ESV) / EDV; mass =
1.05 g/ml x the wall's volume at end diastole (Kawel-Boehm et al., JCMR 2020). Volumes are of the slices that were
prepared: with `preprocessing.central_slices` they are of those alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cmrfed.shapes import PHASES, Label
from cmrfed.slices import Patient, Slices

MYOCARDIAL_DENSITY_G_PER_ML = 1.05
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
    values = {"lv_mass_g": MYOCARDIAL_DENSITY_G_PER_ML * volumes[Label.MYO, "ED"]}
    for name, label in (("lv", Label.LV), ("rv", Label.RV)):
        full, emptied = volumes[label, "ED"], volumes[label, "ES"]
        values |= {f"{name}_edv_ml": full, f"{name}_esv_ml": emptied}
        values[f"{name}_ef_percent"] = ejection_fraction_percent(full, emptied)
    return CardiacFunction(patients, {name: values[name] for name in MEASURES})


def patients_with_both_phases(slices: Slices) -> tuple[Patient, ...]:
    """Who has a stack at end diastole and one at end systole; without both there is no ejection fraction."""
    phases = [set(slices.conditions[slices.of_patient(patient), 1]) for patient in range(slices.number_of_patients)]
    both = {PHASES.index("ED"), PHASES.index("ES")}
    return tuple(record for record, found in zip(slices.records, phases, strict=True) if both <= found)


def ejection_fraction_percent(edv_ml: PerPatient, esv_ml: PerPatient) -> PerPatient:
    """100 (EDV - ESV) / EDV; NaN where EDV is 0."""
    return 100 * np.divide(edv_ml - esv_ml, edv_ml, out=np.full_like(edv_ml, np.nan), where=edv_ml > 0)


def rows_at(slices: Slices, patient: Patient, phase: str) -> Bool[np.ndarray, " slice"]:
    """Which slices are this patient's at this phase; none where the patient is not here."""
    of_patient = slices.patients == (slices.records.index(patient) if patient in slices.records else -1)
    return of_patient & (slices.conditions[:, 1] == PHASES.index(phase))


def _volume_ml(slices: Slices, patient: Patient, label: Label, phase: str) -> float:
    rows = rows_at(slices, patient, phase)
    voxels_ml = slices.spacing_mm[rows].prod(axis=1) / 1000
    return float(((slices.masks[rows] == label).sum(axis=(1, 2)) * voxels_ml).sum())
