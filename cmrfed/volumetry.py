"""The heart's function from its outlines, as MRI reads it: volumes by summing discs (Simpson's rule), ejection fraction
and left ventricular mass (Kawel-Boehm et al., JCMR 2020).
"""

import numpy as np
from jaxtyping import Float, Integer

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
