"""Names for array shapes, and the one table of labels, vendors and phases that the whole project shares.

Volumes are (slice, row, column): slices run from base to apex or apex to base as stored, rows run to the patient's
posterior-inferior side and columns to the patient's left, as a radiologist sees a short-axis image.
"""

from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

Volume = Float[np.ndarray, "slice row column"]
"""Intensities, scaled as the file says, float32."""
VolumeMask = UInt8[np.ndarray, "slice row column"]
"""Labels of the `Label` table, or `UNLABELLED`; in prepared cases also classes of tissue."""

Image = Float[torch.Tensor, "batch 1 row column"]
"""Slices ready for a network, in [-1, 1]."""
Mask = Int[torch.Tensor, "batch row column"]
"""Labels of the `Label` table, classes of tissue from `FIRST_TISSUE` on, or `UNLABELLED`; int64, for a network."""
Condition = Int[torch.Tensor, "batch 2"]
"""(vendor, phase) by index into `VENDORS` and `PHASES`; `UNKNOWN` is the last index of each."""


class Label(IntEnum):
    """The canonical labels, those of M&Ms. ACDC numbers the ventricles the other way round; its loader translates."""

    BACKGROUND = 0
    LV = 1
    MYO = 2
    RV = 3


STRUCTURES = (Label.LV, Label.MYO, Label.RV)
"""The labelled structures, in reporting order."""

COLOURS = {Label.LV: "#D55E00", Label.MYO: "#009E73", Label.RV: "#56B4E9"}
"""Of every picture: Okabe and Ito's palette, told apart by every kind of colour vision, and in print."""

FIRST_TISSUE = len(Label)
"""From here on labels are classes of the tissue around the heart, darkest first, where preprocessing finds them."""
UNLABELLED = 255
"""What nobody has labelled: any structure may be there. Not background, which says that none is."""

UNKNOWN = "unknown"
VENDORS = ("Siemens", "Philips", "GE", "Canon", UNKNOWN)
"""Vendors by canonical name. UNKNOWN stands for the generic (public) style and for dropped conditions."""
PHASES = ("ED", "ES", UNKNOWN)
"""End diastole and end systole."""


def structures_of(mask: Mask) -> Mask:
    """The mask with classes of tissue as background, as segmenters and scores see it."""
    return torch.where((mask >= FIRST_TISSUE) & (mask != UNLABELLED), Label.BACKGROUND, mask)


def vendor_index(vendor: str) -> int:
    """Index of a canonical vendor name in `VENDORS`; anything else is UNKNOWN."""
    return VENDORS.index(vendor) if vendor in VENDORS else VENDORS.index(UNKNOWN)


def phase_index(phase: str) -> int:
    """Index of a phase in `PHASES`; anything else is UNKNOWN."""
    return PHASES.index(phase) if phase in PHASES else PHASES.index(UNKNOWN)
