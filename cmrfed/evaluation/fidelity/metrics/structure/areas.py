"""Ratios of a slice's areas."""

import numpy as np
from jaxtyping import Float, Int

from cmrfed.shapes import Label

MaskSlice = Int[np.ndarray, "row column"]
SpacingMm = Float[np.ndarray, " 2"]


def lv_myocardium_ratio(mask: MaskSlice, spacing_mm: SpacingMm) -> float:
    """Area of the left ventricle's blood over that of its wall; NaN where either is missing."""
    return _ratio(mask, Label.LV, Label.MYO)


def rv_lv_ratio(mask: MaskSlice, spacing_mm: SpacingMm) -> float:
    """Area of the right ventricle's blood over that of the left's; NaN where either is missing."""
    return _ratio(mask, Label.RV, Label.LV)


def _ratio(mask: MaskSlice, upper: Label, lower: Label) -> float:
    above, below = np.count_nonzero(mask == upper), np.count_nonzero(mask == lower)
    return above / below if above and below else float("nan")
