"""Where the heart is in a stack: by its mask, or by its motion where nobody has drawn one."""

import numpy as np
from scipy.ndimage import gaussian_filter

from cmrfed.shapes import STRUCTURES, Volume, VolumeMask

_BLUR_MM = 8.0  # larger than a vessel, smaller than a heart
_HEART_MM = 70.0  # radius of the window: both ventricles and what moves with them; chosen on phantoms
_MOST = 97.0  # percentile above which motion counts no more: one bright vessel must not outweigh a heart


def centre_of_mask(mask: VolumeMask) -> tuple[float, float]:
    """Middle (row, column) of the box that bounds every structure on every slice, so that a stack moves as a whole.

    In voxels of the stored grid: a whole number is the middle of a voxel.
    """
    heart = np.isin(mask, STRUCTURES)
    rows, columns = (np.flatnonzero(heart.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return float(rows[0] + rows[-1]) / 2, float(columns[0] + columns[-1]) / 2


def centre_of_motion(motion: Volume, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Middle (row, column) of what beats: the mode, by mean shift, of the motion summed over slices.

    `motion` is how much each voxel changes over the beat, such as the first temporal harmonic (Lin et al., MICCAI
    2006). Nothing in a thorax changes as much over as wide an area as the ventricles' edges; vessels and the stomach
    change too, but over less.
    """
    total = np.minimum(motion, np.percentile(motion, _MOST)).sum(axis=0)
    blurred = gaussian_filter(total, [_BLUR_MM / step for step in spacing_mm[1:]])
    rows, columns = np.indices(blurred.shape)
    centre = np.array(np.unravel_index(np.argmax(blurred), blurred.shape), dtype=float)
    weight = np.maximum(blurred - np.median(blurred), 0)
    for _ in range(20):
        away = ((rows - centre[0]) * spacing_mm[1]) ** 2 + ((columns - centre[1]) * spacing_mm[2]) ** 2
        inside = np.where(away < _HEART_MM**2, weight, 0)
        if not inside.any():
            break
        centre = np.array([(inside * rows).sum(), (inside * columns).sum()]) / inside.sum()
    return float(centre[0]), float(centre[1])
