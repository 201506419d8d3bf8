"""The heart's function from its outlines, as MRI reads it: volumes by summing discs (Simpson's rule), ejection fraction
and left ventricular mass (Kawel-Boehm et al., JCMR 2020).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Integer

from cmrfed.conditions import UNLABELLED
from cmrfed.shapes import Label

MYOCARDIUM_G_PER_ML = 1.05
"""Density of muscle: mass = 1.05 g/ml x the wall's volume at end diastole."""


def structure_ml(
    masks: Integer[np.ndarray, "slice row column"], label: Label, spacing_mm: Float[np.ndarray, "*slice 3"]
) -> float:
    """Volume in ml of a structure, summed over slices; spacing_mm: of (slice, row, column), one for all slices or a row
    for each."""
    voxels = (masks == label).sum(axis=(1, 2))
    return float((voxels * spacing_mm.prod(axis=-1)).sum() / 1000)


def ejection_fraction(
    edv_ml: Float[np.ndarray, "*patient"], esv_ml: Float[np.ndarray, "*patient"]
) -> Float[np.ndarray, "*patient"]:
    """(EDV - ESV) / EDV, from 0 to 1; NaN where EDV is 0, or either is NaN."""
    edv_ml, esv_ml = np.asarray(edv_ml, float), np.asarray(esv_ml, float)
    return np.divide(edv_ml - esv_ml, edv_ml, out=np.full(edv_ml.shape, np.nan), where=edv_ml > 0)


FUNCTION = ("edv", "esv", "wall_thickness")
"""Conditions that one phase of a visit tells of the whole visit."""


def measured(
    masks: Integer[np.ndarray, "slice row column"], spacing_mm: tuple[float, float, float], phase: str
) -> dict[str, float]:
    """What a whole stack's outlines tell of its visit, by names of `FUNCTION`: nothing where any of it is unlabelled.

    The wall's thickness at end diastole, in mm, is that of a ring with the areas of blood and muscle, the mean over the
    slices that show both.
    """
    if (masks == UNLABELLED).any():
        return {}
    volume = structure_ml(masks, Label.LV, np.array(spacing_mm))
    if phase == "ES":
        return {"esv": volume}
    return {"edv": volume, **_wall(masks, spacing_mm)} if phase == "ED" else {}


def _wall(masks: Integer[np.ndarray, "slice row column"], spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    blood, muscle = ((masks == label).sum(axis=(1, 2)) for label in (Label.LV, Label.MYO))
    both = (blood > 0) & (muscle > 0)
    if not both.any():
        return {}
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    outer, inner = (np.sqrt(area[both] * pixel_mm2 / np.pi) for area in (blood + muscle, blood))
    return {"wall_thickness": float((outer - inner).mean())}


def ejection_of(volumes: Mapping[str, float]) -> dict[str, float]:
    """The ejection fraction in percent, where both volumes are known and a heart could have them."""
    edv, esv = volumes.get("edv", np.nan), volumes.get("esv", np.nan)
    return {"ejection_fraction": 100 * (edv - esv) / edv} if 0 < esv < edv else {}


def slice_levels(masks: Integer[np.ndarray, "slice row column"]) -> Float[np.ndarray, " slice"]:
    """Where each slice is along the left ventricle, 0 its apex and 1 its base; NaN for all where that cannot be told.

    The ventricle goes from the first to the last slice that shows its wall or blood; its base is where the heart is
    wider.
    """
    shown = np.flatnonzero(np.isin(masks, (Label.LV, Label.MYO)).any(axis=(1, 2)))
    if len(shown) < 2 or (masks == UNLABELLED).any():
        return np.full(len(masks), np.nan)
    levels = ((np.arange(len(masks)) - shown[0]) / (shown[-1] - shown[0])).clip(0, 1)
    heart = np.isin(masks, (Label.LV, Label.MYO, Label.RV)).sum(axis=(1, 2))
    wider_first = heart[levels < 0.5].mean() > heart[levels > 0.5].mean()
    return 1 - levels if wider_first else levels
