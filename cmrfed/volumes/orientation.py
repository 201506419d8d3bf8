"""How a stored short-axis plane is turned so that every image lies as a radiologist sees it.

Columns run to the patient's left and rows to the posterior-inferior side. The third stored axis is always the slice
axis: canonical reorientation may move it on oblique stacks, whose normal can lie nearest to any axis.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

LEFT = np.array([-1.0, 0.0, 0.0])
"""Directions are in nibabel's frame: right, anterior, superior."""
POSTERIOR_INFERIOR = np.array([0.0, -1.0, -1.0]) / np.sqrt(2)


class Orientation(NamedTuple):
    """How stored in-plane axes become rows and columns: swap the two axes, then flip rows, then columns."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool


AS_STORED = Orientation(transpose=False, flip_rows=False, flip_columns=False)
"""The first stored axis is the column, the second the row: the order of the pixels in DICOM and on a screen."""


def orientation_of(axes: Float[np.ndarray, "3 2"]) -> Orientation:
    """The swap and flips that best turn columns to the left and rows to posterior-inferior.

    `axes` holds the unit direction of the first and second stored axis. In a plane across the heart's long axis the two
    wanted directions are nearly perpendicular, so the best is unambiguous.
    """
    left, down = LEFT @ axes, POSTERIOR_INFERIOR @ axes

    def agreement(way: Orientation) -> float:
        column, row = (1, 0) if way.transpose else (0, 1)
        return float(left[column] * (-1) ** way.flip_columns + down[row] * (-1) ** way.flip_rows)

    return max((Orientation(*flags) for flags in product((False, True), repeat=3)), key=agreement)


def to_rows_and_columns(
    stored: Shaped[np.ndarray, "x y slice"], orientation: Orientation
) -> Shaped[np.ndarray, "slice row column"]:
    """The stored stack, turned."""
    volume = stored.transpose(2, 0, 1) if orientation.transpose else stored.transpose(2, 1, 0)
    rows = slice(None, None, -1 if orientation.flip_rows else 1)
    columns = slice(None, None, -1 if orientation.flip_columns else 1)
    return np.ascontiguousarray(volume[:, rows, columns])


def turned_spacing(stored_mm: tuple[float, float, float], orientation: Orientation) -> tuple[float, float, float]:
    """Spacing (x, y, slice) as stored -> (slice, row, column) of the turned stack."""
    x, y, z = stored_mm
    return (z, x, y) if orientation.transpose else (z, y, x)
