"""What no heart's mask may be, whoever made it."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int, UInt8
from scipy import ndimage

from cmrfed.shapes import Label, VolumeMask

Inside = Bool[np.ndarray, "slice kept_row kept_column"]
Cropped = UInt8[np.ndarray, "slice kept_row kept_column"]

_MOST_GROWTH = 1.1
"""Of a left ventricle's section over that of its neighbour nearer to the base, below the widest one."""
_LEAST_OVERLAP = 0.3
"""Of two neighbouring sections, of the smaller one."""
_CORNERS = np.ones((3, 3), bool)
_EDGES = np.array([[False, True, False], [True, True, True], [False, True, False]])


def violations(masks: Mapping[str, VolumeMask]) -> list[str]:
    """What is wrong with a heart's masks at ED and ES, a line each; slices from the base to the apex.

    In each slice the left cavity is one piece within a whole ring of muscle, the right one is one piece without holes,
    and where a stack has both the right one lies on the wall somewhere; slices of a ventricle follow each other, lie
    over each other, and the left one tapers from its widest to the apex. At end systole the left cavity is smaller.
    """
    found = [f"{phase}: {fault}" for phase, mask in masks.items() for fault in _of_stack(cropped(mask))]
    sizes = {phase: int(np.count_nonzero(mask == Label.LV)) for phase, mask in masks.items()}
    if {"ED", "ES"} <= sizes.keys() and sizes["ES"] >= sizes["ED"]:
        found.append("ES: the left cavity is no smaller than at ED")
    return found


def _of_stack(mask: Cropped) -> list[str]:
    cavity, wall, right = (mask == label for label in (Label.LV, Label.MYO, Label.RV))
    left = cavity | wall
    found = _said_of((_dilated(cavity) & ~left).sum(axis=(1, 2)) > 0, "the left cavity is not enclosed by muscle")
    for name, inside in (("left cavity", cavity), ("wall", wall), ("right ventricle", right)):
        found += _said_of(_pieces(inside, _CORNERS) > 1, f"the {name} is in several pieces")
    for name, inside in (("left ventricle", left), ("right ventricle", right)):
        found += _said_of(_pieces(~inside, _EDGES) > 1, f"the {name} has a hole")
        found += _of_neighbours(name, inside)
    found += _of_taper(left)
    if right.any() and not (_dilated(right) & wall).any():
        found.append("the right ventricle lies nowhere on the left one's wall")
    return found


def cropped(mask: VolumeMask) -> Cropped:
    """Rows and columns around the heart alone, with a pixel of what is around it on each side."""
    shown = mask.any(axis=0)
    rows, columns = (np.flatnonzero(shown.sum(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return mask[:, :1, :1]
    return np.pad(mask[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], ((0, 0), (1, 1), (1, 1)))


def _said_of(slices: Bool[np.ndarray, " slice"], fault: str) -> list[str]:
    return [f"slice {index}: {fault}" for index in np.flatnonzero(slices)]


def _pieces(inside: Inside, neighbours: Bool[np.ndarray, "3 3"]) -> Int[np.ndarray, " slice"]:
    """How many each slice has."""
    within_slices = np.zeros((3, 3, 3), bool)
    within_slices[1] = neighbours
    pieces = ndimage.find_objects(ndimage.label(inside, within_slices)[0])
    return np.bincount([place[0].start for place in pieces], minlength=len(inside))


def _dilated(inside: Inside) -> Inside:
    """By a pixel, across corners too; what is inside is nowhere on the edge."""
    found = inside.copy()
    for axis in (1, 2):
        found |= np.roll(found, 1, axis) | np.roll(found, -1, axis)
    return found


def _of_neighbours(name: str, inside: Inside) -> list[str]:
    shown = np.flatnonzero(inside.any(axis=(1, 2)))
    if len(shown) and shown[-1] - shown[0] + 1 != len(shown):
        return [f"the {name} is missing from a slice between others"]
    sizes = inside.sum(axis=(1, 2))
    shared = (inside[:-1] & inside[1:]).sum(axis=(1, 2))
    apart = shared < _LEAST_OVERLAP * np.minimum(sizes[:-1], sizes[1:])
    return [
        f"slices {index} and {index + 1} of the {name} hardly lie over each other" for index in np.flatnonzero(apart)
    ]


def _of_taper(heart: Inside) -> list[str]:
    areas = heart.sum(axis=(1, 2))
    wider = areas[1:] > _MOST_GROWTH * areas[:-1]
    below = np.arange(1, len(areas)) > np.argmax(areas)
    return [f"slice {index + 1}: the left ventricle widens towards the apex" for index in np.flatnonzero(wider & below)]
