"""Names for array shapes, and the one table of labels that the whole project shares.

Volumes are (slice, row, column): slices run from base to apex or apex to base as stored, rows run to the patient's
posterior-inferior side and columns to the patient's left, as a radiologist sees a short-axis image.
"""

from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from cmrfed.conditions import UNLABELLED

Volume = Float[np.ndarray, "slice row column"]
"""Intensities, scaled as the file says, float32."""
VolumeMask = UInt8[np.ndarray, "slice row column"]
"""Labels of the `Label` table, or `UNLABELLED`; in prepared cases also classes of tissue."""

Image = Float[torch.Tensor, "batch 1 *grid"]
"""Slices (batch, 1, row, column) or stacks (batch, 1, slice, row, column) ready for a network, in [-1, 1]."""
Latent = Float[torch.Tensor, "batch channel *place"]
"""What a space makes of images (`cmrfed.generators.spaces`); in the space of pixels, images."""
Mask = Int[torch.Tensor, "batch *grid"]
"""Labels of the `Label` table, classes of tissue from `FIRST_TISSUE` on, or `UNLABELLED`; int64, for a network."""


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


def spread(values: Shaped[Tensor, " batch"], images: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
    """A value for each row as a tensor that multiplies or selects rows of `images`, whatever their rank."""
    return values.reshape(-1, *[1] * (images.ndim - 1))


def at_least_single(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Numbers that mixed precision made coarser, in single precision again; what is in double stays so."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def structures_of(mask: Mask) -> Mask:
    """The mask with classes of tissue as background, as segmenters and scores see it."""
    return torch.where((mask >= FIRST_TISSUE) & (mask != UNLABELLED), Label.BACKGROUND, mask)
