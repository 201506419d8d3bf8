"""Contrast of blood against the wall around it, which a cine image lives by."""

import numpy as np
from jaxtyping import Float, Int

from cmrfed.shapes import Label


def blood_contrast(
    image: Float[np.ndarray, "row column"], mask: Int[np.ndarray, "row column"], spacing_mm: Float[np.ndarray, " 2"]
) -> float:
    """(B - M) / (B + M), B and M the mean intensities of the left ventricle's blood and of its wall, from 0 for black.

    In [-1, 1]; image in [-1, 1]. NaN where the mask lacks either, or both are black.
    """
    blood, wall = image[mask == Label.LV], image[mask == Label.MYO]
    if not (len(blood) and len(wall)):
        return float("nan")
    bright, dark = float(blood.mean()) + 1, float(wall.mean()) + 1
    return (bright - dark) / (bright + dark) if bright + dark > 0 else float("nan")
