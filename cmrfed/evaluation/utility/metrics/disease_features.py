"""What a heart's masks and images say about its disease: the features that won the ACDC challenge, and brightness.

Volumes, fractions, ratios and wall thickness by phase after Khened et al., Wolterink et al. and Isensee et al. (all
STACOM 2017); to these, brightness and its spread in each structure, which is all that tells a patient's synthetic image
from the real one of the same masks.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import binary_erosion, distance_transform_edt

from cmrfed.evaluation.utility.metrics.function import (
    Visit,
    by_patient,
    function_of_visits,
    patients_of,
    visits_with_both_phases,
)
from cmrfed.shapes import STRUCTURES, Label
from cmrfed.slices import Patient, Slices

Features = dict[str, float]


@dataclass(frozen=True, eq=False)
class DiseaseFeatures:
    """One row a patient; NaN where a feature is not defined, as thickness without a cavity."""

    patients: tuple[Patient, ...]
    names: tuple[str, ...]
    values: Float[np.ndarray, "patient feature"]


def disease_features(anatomy: Slices, images: Slices) -> DiseaseFeatures:
    """Features of every patient of `anatomy` with a visit that shows both phases, averaged over such visits.

    anatomy: whole stacks, on whose masks shapes are measured. images: slices of the same patients, perhaps fewer, on
    which brightness is measured inside their own masks. Raises ValueError when nobody has both phases.
    """
    visits = visits_with_both_phases(anatomy)
    if not visits:
        raise ValueError("a disease is told from end diastole and end systole, and no patient has both")
    function = function_of_visits(anatomy, visits)
    rows = []
    for number, visit in enumerate(visits):
        measures = {name: float(values[number]) for name, values in function.items()}
        rows.append(measures | _ratios(measures) | _of_phases(anatomy, images, visit))
    values = np.array([list(row.values()) for row in rows])
    return DiseaseFeatures(patients_of(visits), tuple(rows[0]), by_patient(visits, values))


def _ratios(of: Features) -> Features:
    return {
        "rv_to_lv_ed": _ratio(of["rv_edv_ml"], of["lv_edv_ml"]),
        "rv_to_lv_es": _ratio(of["rv_esv_ml"], of["lv_esv_ml"]),
        "lv_mass_to_volume_g_per_ml": _ratio(of["lv_mass_g"], of["lv_edv_ml"]),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan


def _of_phases(anatomy: Slices, images: Slices, visit: Visit) -> Features:
    found: Features = {}
    for phase in ("ED", "ES"):
        stack, shown = (np.flatnonzero(visit.rows(slices, phase)) for slices in (anatomy, images))
        thickness = [wall_thickness_mm(anatomy.masks[row], anatomy.spacing_mm[row, 1:]) for row in stack]
        found |= {f"{name}_{phase.lower()}": value for name, value in _spread("wall_mm", np.concatenate(thickness))}
        for label in STRUCTURES:
            inside = images.images[shown][images.masks[shown] == label]
            name = f"{label.name.lower()}_brightness"
            found |= {f"{key}_{phase.lower()}": value for key, value in _spread(name, inside)}
    return found


def _spread(name: str, values: Float[np.ndarray, " value"]) -> list[tuple[str, float]]:
    """Median, extent and spread; NaN where there is no value."""
    statistics = (
        ("median", np.median),
        ("high", lambda of: np.percentile(of, 95)),
        ("sd", np.std),
    )
    return [(f"{name}_{key}", float(compute(values)) if len(values) else np.nan) for key, compute in statistics]


def wall_thickness_mm(
    mask: UInt8[np.ndarray, "row column"], spacing_mm: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, " edge"]:
    """The distance to the left ventricle's cavity from each pixel of its wall's outer edge, in one slice.

    Empty where either the wall or the cavity is missing.
    """
    cavity, wall = mask == Label.LV, mask == Label.MYO
    outer = wall & ~binary_erosion(cavity | wall)
    return distance_transform_edt(~cavity, sampling=spacing_mm)[outer] if cavity.any() else np.empty(0)
