"""When end diastole and end systole are, and what moves, where the data set does not say.

The heart is what changes once a beat: Lin et al., "Automated detection of left ventricle in 4D MR images: Experience
from a large study", MICCAI 2006, take the first harmonic of every voxel's intensity over the cine.
"""

from collections.abc import Callable

import numpy as np

from cmrfed.config import UserError
from cmrfed.shapes import Label, Volume, VolumeMask
from cmrfed.volumes.case import Cine

MOVING_SHARE = 0.05
"""Share of a short-axis stack that moves most: the ventricles and the great vessels."""
ENOUGH_SLICES = 0.5
"""A frame counts as labelled when it has this share of the slices that the best labelled frame has."""


def motion(cine: Cine) -> Volume:
    """Amplitude of the first temporal harmonic per voxel, |2/T sum_t I_t exp(-2 pi i t / T)|, (slice, row, column).

    With two frames this is their absolute difference.
    """
    total = cine.frames or 1
    harmonic = np.zeros(cine.shape, np.complex64)
    for time, frame in enumerate(cine.read_all()):
        harmonic += frame * np.complex64(np.exp(-2j * np.pi * time / total) * 2 / total)
    return np.abs(harmonic)


def phase_from_masks(cine: Cine, phase: str, masks: Callable[[int], VolumeMask]) -> int | None:
    """The frame with the largest (ED) or smallest (ES) left ventricle, or None when no frame shows one.

    Only frames that are labelled as a whole take part: a stray contour on one slice is no end systole.
    """
    cavities = [np.count_nonzero(masks(frame) == Label.LV, axis=(1, 2)) for frame in range(cine.frames or 1)]
    slices = np.array([np.count_nonzero(cavity) for cavity in cavities])
    if not slices.any():
        return None
    labelled = np.flatnonzero(slices >= ENOUGH_SLICES * slices.max())
    if len(labelled) < 2:
        raise UserError(f"{cine.path}: only frame {labelled[0]} is labelled, so {phase} cannot be told; name its frame")
    volumes = [int(cavities[frame].sum()) for frame in labelled]
    return int(labelled[np.argmax(volumes) if phase == "ED" else np.argmin(volumes)])


def phase_from_cine(cine: Cine, phase: str, moving: Volume) -> int:
    """ED is the first frame, since cines are triggered by the R wave; ES differs most from it where the heart moves."""
    if phase == "ED":
        return 0
    region = moving >= np.quantile(moving, 1 - MOVING_SHARE)
    first = cine.read(0)[region]
    return int(np.argmax([np.abs(frame[region] - first).mean() for frame in cine.read_all()]))
