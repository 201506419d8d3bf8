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
    leaks = _areas(dilated(cavity) & ~left) > 0
    found = _said_of(leaks, "the left cavity is not enclosed by muscle")
    pieces = {"left cavity": _pieces(cavity), "wall": _pieces(wall), "right ventricle": _pieces(right)}
    for name, counts in pieces.items():
        found += _said_of(counts > 1, f"the {name} is in several pieces")
    enclosed = not leaks.any() and (pieces["wall"] <= 1).all()  # then each cavity is in the one piece of wall
    for name, inside, counts in (
        ("left ventricle", left, pieces["wall"] if enclosed else _pieces(left)),
        ("right ventricle", right, pieces["right ventricle"]),
    ):
        found += _said_of(counts > _euler_characteristic(inside), f"the {name} has a hole")
        found += _of_neighbours(name, inside)
    found += _of_taper(left)
    if right.any() and not (dilated(right) & wall).any():
        found.append("the right ventricle lies nowhere on the left one's wall")
    return found


def cropped(mask: VolumeMask) -> Cropped:
    """Rows and columns around the heart alone, with a pixel of what is around it on each side."""
    rows, columns = bounds(mask)
    return np.pad(mask[:, rows, columns], ((0, 0), (1, 1), (1, 1))) if rows.stop else mask[:, :1, :1]


def bounds(mask: UInt8[np.ndarray, "slice row column"] | Inside) -> tuple[slice, slice]:
    """The rows and the columns in which any slice shows something; none where nothing is shown."""
    shown = np.bitwise_or.reduce(mask, axis=0) > 0
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else (slice(0), slice(0))


def dilated(inside: Inside) -> Inside:
    """By a pixel, across corners too, within each slice."""
    found = inside.copy()
    found[:, 1:] |= inside[:, :-1]
    found[:, :-1] |= inside[:, 1:]
    across = found.copy()
    found[:, :, 1:] |= across[:, :, :-1]
    found[:, :, :-1] |= across[:, :, 1:]
    return found


def pieces_by_slice(inside: Inside, across_corners: bool) -> Int[np.ndarray, "slice kept_row kept_column"]:
    """The number of the piece that a pixel is of, counted on from slice to slice; 0 outside of all."""
    within_slices = np.zeros((3, 3, 3), bool)
    within_slices[1] = ndimage.generate_binary_structure(2, 2 if across_corners else 1)
    return np.asarray(ndimage.label(inside, within_slices)[0])


def _said_of(slices: Bool[np.ndarray, " slice"], fault: str) -> list[str]:
    return [f"slice {index}: {fault}" for index in np.flatnonzero(slices)]


def _areas(inside: Inside) -> Int[np.ndarray, " slice"]:
    """Pixels of each slice."""
    return np.array([np.count_nonzero(one) for one in inside])


def _pieces(inside: Inside) -> Int[np.ndarray, " slice"]:
    """How many each slice has, of pixels that touch, across corners too."""
    pieces = pieces_by_slice(inside[:, *bounds(inside)], across_corners=True)
    return np.diff(np.maximum.accumulate(pieces.max(axis=(1, 2), initial=0)), prepend=0)


def _euler_characteristic(inside: Inside) -> Int[np.ndarray, " slice"]:
    """Of each slice, pieces less holes: pixels less the edges between and around them, and with their corners. The
    outermost pixels are not inside."""
    beside, above = (inside[:, 1:] | inside[:, :-1]), inside[:, :, 1:] | inside[:, :, :-1]
    return _areas(inside) - _areas(beside) - _areas(above) + _areas(beside[:, :, 1:] | beside[:, :, :-1])


def _of_neighbours(name: str, inside: Inside) -> list[str]:
    sizes, shared = _areas(inside), _areas(inside[:-1] & inside[1:])
    shown = np.flatnonzero(sizes)
    if len(shown) and shown[-1] - shown[0] + 1 != len(shown):
        return [f"the {name} is missing from a slice between others"]
    apart = shared < _LEAST_OVERLAP * np.minimum(sizes[:-1], sizes[1:])
    return [
        f"slices {index} and {index + 1} of the {name} hardly lie over each other" for index in np.flatnonzero(apart)
    ]


def _of_taper(heart: Inside) -> list[str]:
    areas = _areas(heart)
    wider = areas[1:] > _MOST_GROWTH * areas[:-1]
    below = np.arange(1, len(areas)) > np.argmax(areas)
    return [f"slice {index + 1}: the left ventricle widens towards the apex" for index in np.flatnonzero(wider & below)]
