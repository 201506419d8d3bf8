"""Masks as people draw them: near the true outline, and never on it.

Two experts' outlines of one ventricle lie 1 to 1.5 mm apart on average (ACDC: Bernard et al., IEEE TMI 2018, table V),
smoothly along the wall rather than pixel by pixel. A network that only ever saw exact outlines would take each one at
its word.
"""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from scipy.ndimage import map_coordinates

from cmrfed.phantom.fields import Warp
from cmrfed.volumes import Case

_WAVELENGTHS_MM = (15.0, 60.0)


def with_drawn_outlines(case: Case, noise_mm: float, rng: Generator) -> Case:
    """The case with every slice's outlines displaced smoothly, by `noise_mm` (rms) along rows and along columns."""
    if noise_mm == 0:
        return case
    _, row_mm, column_mm = case.spacing_mm
    rows, columns = np.indices(case.mask.shape[1:], dtype=np.float32)
    x, y = np.asarray(columns * column_mm, np.float32), np.asarray(rows * row_mm, np.float32)
    mask = np.empty_like(case.mask)
    for index, labels in enumerate(case.mask):
        moved_x, moved_y = Warp.sample(rng, noise_mm, _WAVELENGTHS_MM, waves=12)(x, y)
        mask[index] = map_coordinates(labels, [moved_y / row_mm, moved_x / column_mm], order=0, mode="nearest")
    return replace(case, mask=mask)
