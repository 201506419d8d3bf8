"""Thickness of the left ventricle's wall in a slice."""

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import distance_transform_edt

from cmrfed.shapes import Label


def wall_thickness_mm(mask: Int[np.ndarray, "row column"], spacing_mm: Float[np.ndarray, " 2"]) -> float:
    """Mean over the myocardium of the distance to the blood of the left ventricle plus that to what lies outside.

    Both distances end at the centre of a pixel beyond the wall, which adds one pixel in all; it is taken off again.
    spacing_mm: of (row, column). NaN where the mask has no myocardium, no blood in it or nothing outside.
    """
    wall, blood = mask == Label.MYO, mask == Label.LV
    outside = ~(wall | blood)
    if not (wall.any() and blood.any() and outside.any()):
        return float("nan")
    to_blood, to_outside = (distance_transform_edt(~region, sampling=spacing_mm)[wall] for region in (blood, outside))
    return float((to_blood + to_outside).mean() - spacing_mm.mean())
