"""Volumes, ejection fraction and mass of the left ventricle, by patient."""

import numpy as np
from jaxtyping import Float, Int

from cmrfed.shapes import PHASES, Label

MYOCARDIUM_G_PER_ML = 1.05
VOLUMES = ("edv_ml", "esv_ml", "ejection_fraction", "lv_mass_g")

Stack = Int[np.ndarray, "slice row column"]


def patient_volumes(stacks: dict[str, Stack], spacing_mm: Float[np.ndarray, " 3"]) -> dict[str, float]:
    """`VOLUMES` of one patient: end-diastolic and end-systolic volume in ml, (EDV - ESV) / EDV from 0 to 1, and the
    mass of the wall at end diastole in g, 1.05 g/ml times its volume.

    stacks: the whole mask of each phase, "ED" or "ES"; a phase may be missing. spacing_mm: of (slice, row, column).
    What lacks its phase is NaN, and so is the ejection fraction where no blood was found at end diastole.
    """
    ml = float(np.prod(spacing_mm)) / 1000
    blood = {phase: np.count_nonzero(mask == Label.LV) * ml for phase, mask in stacks.items()}
    end_diastolic, end_systolic = (blood.get(phase, float("nan")) for phase in PHASES[:2])
    wall = np.count_nonzero(stacks["ED"] == Label.MYO) * ml if "ED" in stacks else float("nan")
    fraction = (end_diastolic - end_systolic) / end_diastolic if end_diastolic else float("nan")
    return dict(zip(VOLUMES, (end_diastolic, end_systolic, fraction, MYOCARDIUM_G_PER_ML * wall), strict=True))
