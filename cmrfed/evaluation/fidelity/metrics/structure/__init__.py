"""What a cardiologist would measure, as distributions: areas, thickness of the wall, contrast, sharpness, volumes."""

from cmrfed.evaluation.fidelity.metrics.structure.areas import lv_myocardium_ratio, rv_lv_ratio
from cmrfed.evaluation.fidelity.metrics.structure.contrast import blood_contrast
from cmrfed.evaluation.fidelity.metrics.structure.distances import distribution_distances
from cmrfed.evaluation.fidelity.metrics.structure.sharpness import edge_width_mm
from cmrfed.evaluation.fidelity.metrics.structure.thickness import wall_thickness_mm
from cmrfed.evaluation.fidelity.metrics.structure.volumes import VOLUMES, patient_volumes

SHAPES = {
    "lv_myo_area_ratio": lv_myocardium_ratio,
    "rv_lv_area_ratio": rv_lv_ratio,
    "wall_thickness_mm": wall_thickness_mm,
}
"""What is measured of a mask: functions of (mask, spacing_mm), NaN where a mask does not show it."""
APPEARANCES = {"blood_contrast": blood_contrast, "edge_width_mm": edge_width_mm}
"""What is measured of an image where a mask shows it to be: functions of (image, mask, spacing_mm)."""

__all__ = [
    "APPEARANCES",
    "SHAPES",
    "VOLUMES",
    "blood_contrast",
    "distribution_distances",
    "edge_width_mm",
    "lv_myocardium_ratio",
    "patient_volumes",
    "rv_lv_ratio",
    "wall_thickness_mm",
]
