"""Volumes, ejection fraction and mass of the left ventricle, by patient."""

import numpy as np
from jaxtyping import Float, Int

from cmrfed.conditions import PHASES
from cmrfed.shapes import Label
from cmrfed.volumetry import MYOCARDIUM_G_PER_ML, ejection_fraction, structure_ml

VOLUMES = ("edv_ml", "esv_ml", "ejection_fraction", "lv_mass_g")

MaskStack = Int[np.ndarray, "slice row column"]


def patient_volumes(stacks: dict[str, MaskStack], spacing_mm: Float[np.ndarray, " 3"]) -> dict[str, float]:
    """`VOLUMES` of a patient at one visit: end-diastolic and end-systolic volume in ml, (EDV - ESV) / EDV from 0 to 1,
    and the mass of the wall at end diastole in g, 1.05 g/ml times its volume.

    stacks: the whole mask of each phase, "ED" or "ES"; a phase may be missing. spacing_mm: of (slice, row, column).
    What lacks its phase is NaN, and so is the ejection fraction where no blood was found at end diastole.
    """

    def volume_ml(phase: str, label: Label) -> float:
        return structure_ml(stacks[phase], label, spacing_mm) if phase in stacks else float("nan")

    edv, esv = (volume_ml(phase, Label.LV) for phase in PHASES[:2])
    fraction = float(ejection_fraction(np.array(edv), np.array(esv)))
    mass_g = MYOCARDIUM_G_PER_ML * volume_ml("ED", Label.MYO)
    return dict(zip(VOLUMES, (edv, esv, fraction, mass_g), strict=True))
