"""The left ventricle's segments of the American Heart Association (Cerqueira et al., Circulation 2002) in masks, placed
by where the right ventricle's wall inserts; and how thick the wall is in each.

Sixteen segments: six at the base and six in the middle, of 60 degrees each from the anterior insertion on through the
septum, and four at the apex, of 90 degrees each, the septal one in the middle of the septum. The seventeenth is the
apex beyond the cavity.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from cmrfed.anatomy.topology import cropped
from cmrfed.shapes import Label, VolumeMask

_RINGS = ((2, 3, 4, 5, 6, 1), (8, 9, 10, 11, 12, 7), (14, 15, 16, 13))
"""By level, from the anterior insertion on through the septum."""
_APEX = 17
_APICAL_START_DEG = 15.0
"""From the anterior insertion to where the apical septum begins: its middle is the septum's."""


@dataclass(frozen=True)
class _Level:
    """A slice that shows the left cavity, and what is seen from its middle.

    ring: which segments it has. start_deg: the angle at which the first begins, counted as in the image: 0 to the
    right, 90 up.
    """

    slice: int
    ring: tuple[int, ...]
    angle_deg: Float[np.ndarray, "row column"]
    start_deg: float

    @property
    def width_deg(self) -> float:
        return 360 / len(self.ring)

    @property
    def segments(self) -> UInt8[np.ndarray, "row column"]:
        """Of every pixel, in whose direction it lies."""
        number = ((self.angle_deg - self.start_deg) % 360 // self.width_deg).astype(int)
        return np.array(self.ring, np.uint8)[number.clip(0, len(self.ring) - 1)]


def aha_segments(mask: VolumeMask) -> VolumeMask:
    """The segment of every voxel of myocardium, 1 to 17; 0 elsewhere, and everywhere where no right ventricle tells
    which wall is the septum. The mask runs from the base to the apex."""
    found = np.zeros_like(mask)
    for level in _levels(mask):
        found[level.slice] = np.where(mask[level.slice] == Label.MYO, level.segments, 0)
    if found.any():
        capped = (mask == Label.MYO).any(axis=(1, 2)) & ~(mask == Label.LV).any(axis=(1, 2))
        found[capped] = np.where(mask[capped] == Label.MYO, _APEX, 0)
    return found


def thickness_mm(mask: VolumeMask, spacing_mm: tuple[float, float, float]) -> dict[int, float]:
    """The mean thickness of the wall in each of the 16 segments that the mask shows.

    Of a sector of angle d, blood and wall have areas A and B: d R^2 / 2 = A + B and d r^2 / 2 = A give the radii of
    circles with these areas, whose difference is the wall.
    """
    walls: dict[int, list[float]] = {}
    heart = cropped(mask)
    for level in _levels(heart):
        here, segments = heart[level.slice], level.segments
        blood, wall = (
            np.bincount(segments[here == label], minlength=_APEX) * spacing_mm[1] * spacing_mm[2]
            for label in (Label.LV, Label.MYO)
        )
        inner, outer = (np.sqrt(2 * area / np.deg2rad(level.width_deg)) for area in (blood, blood + wall))
        for segment in level.ring:
            walls.setdefault(segment, []).append(float(outer[segment] - inner[segment]))
    return {segment: float(np.mean(found)) for segment, found in sorted(walls.items())}


def thickest_mm(mask: VolumeMask, spacing_mm: tuple[float, float, float]) -> float:
    """Of all segments the thickest one's wall; NaN where there is none."""
    return max(thickness_mm(mask, spacing_mm).values(), default=np.nan)


def _levels(mask: np.ndarray) -> Iterator[_Level]:
    """The slices with a cavity, in thirds from the base to the apex. A slice without a right ventricle takes its
    neighbour's insertion."""
    shown = np.flatnonzero((mask == Label.LV).any(axis=(1, 2)))
    starts = {int(index): start for index in shown if (start := _anterior_insertion_deg(mask[index])) is not None}
    if not starts:
        return
    for order, index in enumerate(shown):
        nearest = min(starts, key=lambda other: abs(other - int(index)))
        ring = _RINGS[min(3 * order // len(shown), 2)]
        start = starts[nearest] + (_APICAL_START_DEG if len(ring) == 4 else 0.0)
        yield _Level(int(index), ring, _angles_deg(mask[index]), start)


def _angles_deg(mask: UInt8[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    """About the middle of the left cavity."""
    row, column = (places.mean() for places in np.nonzero(mask == Label.LV))
    rows, columns = np.indices(mask.shape)
    return np.asarray(np.rad2deg(np.arctan2(row - rows, columns - column)))


def _anterior_insertion_deg(mask: UInt8[np.ndarray, "row column"]) -> float | None:
    """Where the part of the right ventricle that lies on the wall begins, seen from the front; None where none does."""
    beside = ndimage.binary_dilation(mask == Label.MYO, np.ones((3, 3), bool)) & (mask == Label.RV)
    if np.count_nonzero(beside) < 3:
        return None
    angles = np.sort(_angles_deg(mask)[beside] % 360)
    gaps = np.diff(angles, append=angles[0] + 360)
    widest = int(np.argmax(gaps))
    return float(angles[(widest + 1) % len(angles)])  # counter-clockwise from here lies the septum
