"""The left ventricle's segments of the American Heart Association (Cerqueira et al., Circulation 2002) in masks, placed
by where the right ventricle's wall inserts; and how thick the wall is in each.

Sixteen segments: six at the base and six in the middle, of 60 degrees each from the anterior insertion on through the
septum, and four at the apex, of 90 degrees each, the septal one in the middle of the septum. The seventeenth is the
apex beyond the cavity.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from cmrfed.anatomy.topology import cropped, dilated
from cmrfed.shapes import Label, VolumeMask

Places = Int[np.ndarray, " pixel"]

_RINGS = ((2, 3, 4, 5, 6, 1), (8, 9, 10, 11, 12, 7), (14, 15, 16, 13))
"""By level, from the anterior insertion on through the septum."""
_APEX = 17
_APICAL_START_DEG = 15.0
"""From the anterior insertion to where the apical septum begins: its middle is the septum's."""


@dataclass(frozen=True)
class _Level:
    """A slice that shows the left cavity.

    middle: row and column of the cavity's. ring: which segments it has. start_deg: the angle at which the first begins,
    counted as in the image: 0 to the right, 90 up.
    """

    slice: int
    middle: tuple[float, float]
    ring: tuple[int, ...]
    start_deg: float

    @property
    def width_deg(self) -> float:
        return 360 / len(self.ring)

    def segments(self, rows: Places, columns: Places) -> UInt8[np.ndarray, " pixel"]:
        """Of every pixel, in whose direction it lies."""
        number = ((_angles_deg(self.middle, rows, columns) - self.start_deg) % 360 // self.width_deg).astype(int)
        return np.array(self.ring, np.uint8)[number.clip(0, len(self.ring) - 1)]


def aha_segments(mask: VolumeMask) -> VolumeMask:
    """The segment of every voxel of myocardium, 1 to 17; 0 elsewhere, and everywhere where no right ventricle tells
    which wall is the septum. The mask runs from the base to the apex."""
    found = np.zeros_like(mask)
    for level in _levels(mask):
        rows, columns = np.nonzero(mask[level.slice] == Label.MYO)
        found[level.slice, rows, columns] = level.segments(rows, columns)
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
        blood, wall = (
            np.bincount(level.segments(*np.nonzero(heart[level.slice] == label)), minlength=_APEX)
            * spacing_mm[1]
            * spacing_mm[2]
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
    middles = {index: _middle(cavity) for index, cavity in enumerate(mask == Label.LV) if cavity.any()}
    beside = dilated(mask == Label.MYO) & (mask == Label.RV)
    starts = {
        index: start
        for index, middle in middles.items()
        if (start := _anterior_insertion_deg(beside[index], middle)) is not None
    }
    if not starts:
        return
    for order, (index, middle) in enumerate(middles.items()):
        nearest = min(starts, key=lambda other: abs(other - index))
        ring = _RINGS[min(3 * order // len(middles), 2)]
        yield _Level(index, middle, ring, starts[nearest] + (_APICAL_START_DEG if len(ring) == 4 else 0.0))


def _middle(inside: Bool[np.ndarray, "row column"]) -> tuple[float, float]:
    rows, columns = np.nonzero(inside)
    return float(rows.mean()), float(columns.mean())


def _angles_deg(middle: tuple[float, float], rows: Places, columns: Places) -> Float[np.ndarray, " pixel"]:
    """Of pixels, about a middle."""
    return np.asarray(np.rad2deg(np.arctan2(middle[0] - rows, columns - middle[1])))


def _anterior_insertion_deg(
    beside: Bool[np.ndarray, "row column"], middle: tuple[float, float]
) -> float | None:
    """Where the part of the right ventricle that lies on the wall begins, seen from the front; None where none does."""
    rows, columns = np.nonzero(beside)
    if len(rows) < 3:
        return None
    angles = np.sort(_angles_deg(middle, rows, columns) % 360)
    gaps = np.diff(angles, append=angles[0] + 360)
    widest = int(np.argmax(gaps))
    return float(angles[(widest + 1) % len(angles)])  # counter-clockwise from here lies the septum
