"""The left ventricle's segments of the American Heart Association (Cerqueira et al., Circulation 2002) in masks, placed
by where the right ventricle's wall inserts; and how thick the wall is in each.

Sixteen segments: six at the base and six in the middle, of 60 degrees each from the anterior insertion on through the
septum, and four at the apex, of 90 degrees each, the septal one in the middle of the septum. The seventeenth is the
apex beyond the cavity.
"""

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
class _Levels:
    """The slices that show the left cavity, and for each slice of the stack how its segments lie.

    middle: row and column of the cavity's. ring: which segments it has, from sector to sector; four are there three
    times. width_deg: of each; start_deg: the angle at which the first begins, counted as in the image: 0 to the right,
    90 up.
    """

    shown: list[int]
    middle: Float[np.ndarray, "slice 2"]
    ring: UInt8[np.ndarray, "slice 12"]
    width_deg: Float[np.ndarray, " slice"]
    start_deg: Float[np.ndarray, " slice"]

    def segments(self, slices: Places, rows: Places, columns: Places) -> UInt8[np.ndarray, " pixel"]:
        """Of every pixel, in whose direction it lies."""
        turned = (_angles_deg(self.middle[slices], rows, columns) - self.start_deg[slices]) / self.width_deg[slices]
        return self.ring[slices, np.floor(turned).astype(int) % self.ring.shape[1]]


def aha_segments(mask: VolumeMask) -> VolumeMask:
    """The segment of every voxel of myocardium, 1 to 17; 0 elsewhere, and everywhere where no right ventricle tells
    which wall is the septum. The mask runs from the base to the apex."""
    found = np.zeros_like(mask)
    if levels := _levels(mask):
        wall = mask == Label.MYO
        capped = wall & ~(mask == Label.LV).any(axis=(1, 2), keepdims=True)
        places = np.nonzero(wall & ~capped)
        found[places] = levels.segments(*places)
        found[capped] = _APEX
    return found


def thickness_mm(mask: VolumeMask, spacing_mm: tuple[float, float, float]) -> dict[int, float]:
    """The mean thickness of the wall in each of the 16 segments that the mask shows.

    Of a sector of angle d, blood and wall have areas A and B: d R^2 / 2 = A + B and d r^2 / 2 = A give the radii of
    circles with these areas, whose difference is the wall.
    """
    heart = cropped(mask)
    levels = _levels(heart)
    if levels is None:
        return {}
    blood, wall = (_areas_mm2(heart == label, levels, spacing_mm) for label in (Label.LV, Label.MYO))
    sector = np.deg2rad(levels.width_deg)[:, None]
    thickness = np.sqrt(2 * (blood + wall) / sector) - np.sqrt(2 * blood / sector)
    walls: dict[int, list[float]] = {}
    for index in levels.shown:
        for segment in dict.fromkeys(levels.ring[index].tolist()):
            walls.setdefault(segment, []).append(float(thickness[index, segment]))
    return {segment: float(np.mean(found)) for segment, found in sorted(walls.items())}


def thickest_mm(mask: VolumeMask, spacing_mm: tuple[float, float, float]) -> float:
    """Of all segments the thickest one's wall; NaN where there is none."""
    return max(thickness_mm(mask, spacing_mm).values(), default=np.nan)


def _areas_mm2(
    inside: Bool[np.ndarray, "slice row column"], levels: _Levels, spacing_mm: tuple[float, float, float]
) -> Float[np.ndarray, "slice segment"]:
    """In each segment of each slice; column 0 is of none."""
    slices, rows, columns = np.nonzero(inside)
    at = slices * _APEX + levels.segments(slices, rows, columns)
    pixels = np.bincount(at, minlength=len(inside) * _APEX).reshape(len(inside), _APEX)
    return pixels * spacing_mm[1] * spacing_mm[2]


def _levels(mask: np.ndarray) -> _Levels | None:
    """Those of the slices with a cavity, in thirds from the base to the apex; None where no slice tells the insertion.
    A slice without a right ventricle takes its neighbour's."""
    slices, rows, columns = np.nonzero(mask == Label.LV)
    pixels, *sums = (np.bincount(slices, weights, len(mask)) for weights in (None, rows, columns))
    middle = np.stack(sums, axis=1) / np.maximum(pixels, 1)[:, None]
    shown = np.flatnonzero(pixels).tolist()
    starts = _anterior_insertions_deg(mask, middle, shown)
    if not starts:
        return None
    ring, start_deg = np.zeros((len(mask), 12), np.uint8), np.zeros(len(mask))
    width_deg = np.full(len(mask), 60.0)
    for order, index in enumerate(shown):
        named = _RINGS[min(3 * order // len(shown), 2)]
        apical = len(named) == 4
        ring[index] = named * (12 // len(named))
        width_deg[index] = 360 / len(named)
        nearest = min(starts, key=lambda other: abs(other - index))
        start_deg[index] = starts[nearest] + (_APICAL_START_DEG if apical else 0.0)
    return _Levels(shown, middle, ring, width_deg, start_deg)


def _angles_deg(middle: Float[np.ndarray, "pixel 2"], rows: Places, columns: Places) -> Float[np.ndarray, " pixel"]:
    """Of pixels, about their slices' middles."""
    return np.asarray(np.rad2deg(np.arctan2(middle[:, 0] - rows, columns - middle[:, 1])))


def _anterior_insertions_deg(
    mask: np.ndarray, middle: Float[np.ndarray, "slice 2"], shown: list[int]
) -> dict[int, float]:
    """Of each slice where the part of the right ventricle that lies on the wall begins, seen from the front; without
    the slices where none does."""
    slices, rows, columns = np.nonzero(dilated(mask == Label.MYO) & (mask == Label.RV))
    angles = _angles_deg(middle[slices], rows, columns) % 360
    ends = np.searchsorted(slices, np.arange(len(mask) + 1))
    beside = {index: np.sort(angles[ends[index] : ends[index + 1]]) for index in shown}
    return {index: _after_widest_gap(one) for index, one in beside.items() if len(one) >= 3}


def _after_widest_gap(angles: Float[np.ndarray, " pixel"]) -> float:
    gaps = np.diff(angles, append=angles[0] + 360)
    return float(angles[(int(np.argmax(gaps)) + 1) % len(angles)])  # counter-clockwise from here lies the septum
