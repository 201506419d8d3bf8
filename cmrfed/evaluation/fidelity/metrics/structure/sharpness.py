"""Sharpness of the endocardium: over how many mm blood turns into wall."""

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import distance_transform_edt

from cmrfed.shapes import Label

_LEAST_CONTRAST = 0.1
"""Of the width of [-1, 1], 2: below it there is no edge to measure."""


def edge_width_mm(
    image: Float[np.ndarray, "row column"], mask: Int[np.ndarray, "row column"], spacing_mm: Float[np.ndarray, " 2"]
) -> float:
    """(B - M) / g: intensities of blood and wall away from the edge, and the mean slope across it at the endocardium.

    For an edge that is a Gaussian integral of width sigma this is sigma sqrt(2 pi), within 3 % of its rise from 10 to
    90 %. B and M are means over pixels further from the edge than a pixel, where there are any. spacing_mm: of (row,
    column). NaN where the mask lacks blood or wall, or blood is not brighter by a twentieth of the range.
    """
    blood, wall = mask == Label.LV, mask == Label.MYO
    if not (blood.any() and wall.any()):
        return float("nan")
    inside, outside = (distance_transform_edt(region, sampling=spacing_mm) for region in (blood, ~blood))
    contrast = _away(image, blood, inside, spacing_mm) - _away(image, wall, outside, spacing_mm)
    slope = _slope(image, inside - outside, spacing_mm)
    edge = (blood & (inside <= spacing_mm.max())) | (wall & (outside <= spacing_mm.max()))
    steepness = float(slope[edge].mean())
    return contrast / steepness if contrast >= _LEAST_CONTRAST and steepness > 0 else float("nan")


def _away(
    image: Float[np.ndarray, "row column"],
    region: Float[np.ndarray, "row column"] | np.ndarray,
    depth_mm: Float[np.ndarray, "row column"],
    spacing_mm: Float[np.ndarray, " 2"],
) -> float:
    deep = region & (depth_mm > spacing_mm.max())
    return float(image[deep if deep.any() else region].mean())


def _slope(
    image: Float[np.ndarray, "row column"],
    signed_mm: Float[np.ndarray, "row column"],
    spacing_mm: Float[np.ndarray, " 2"],
) -> Float[np.ndarray, "row column"]:
    """Change of intensity per mm towards the blood."""
    towards, gradient = (np.stack(np.gradient(values, *spacing_mm)) for values in (signed_mm, image))
    length = np.linalg.norm(towards, axis=0)
    return (gradient * towards).sum(0) / np.where(length > 0, length, 1)
