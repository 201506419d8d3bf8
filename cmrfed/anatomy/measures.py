"""What a heart's masks at both phases measure, as a reader would tell it."""

from collections.abc import Mapping

import numpy as np

from cmrfed.anatomy.segments import thickest_mm
from cmrfed.anatomy.topology import cropped
from cmrfed.shapes import Label, VolumeMask
from cmrfed.volumetry import MYOCARDIUM_G_PER_ML, structure_ml


def measure(masks: Mapping[str, VolumeMask], spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Volumes by Simpson's rule in ml, the left ventricle's ejection fraction and mass in g at end diastole, and in mm
    its wall's thickest AHA segment; by the names of `HeartConfig` where a heart can be asked for it."""
    spacing = np.array(spacing_mm)
    hearts = {phase: cropped(masks[phase]) for phase in ("ED", "ES")}
    volumes = {
        f"{name}_{phase}": structure_ml(hearts[phase], label, spacing)
        for phase in ("ED", "ES")
        for name, label in (("lv", Label.LV), ("rv", Label.RV))
    }
    return {
        "edv_ml": volumes["lv_ED"],
        "esv_ml": volumes["lv_ES"],
        "ef": 1 - volumes["lv_ES"] / volumes["lv_ED"],
        "rv_edv_ml": volumes["rv_ED"],
        "rv_esv_ml": volumes["rv_ES"],
        "mass_g": MYOCARDIUM_G_PER_ML * structure_ml(hearts["ED"], Label.MYO, spacing),
        "wall_mm": thickest_mm(hearts["ED"], spacing_mm),
    }
