"""Grey-level run lengths (GLRLM; Galloway, CGIP 1975): straight runs of pixels of one level, in four directions."""

import numpy as np
from jaxtyping import Float64, Int64

from cmrfed.evaluation.fidelity.metrics.radiomics.counting import Groups, Levels, over_directions
from cmrfed.evaluation.fidelity.metrics.radiomics.emphasis import emphasis

_OUTSIDE = 0
_NAMES = {"Short": "ShortRun", "Long": "LongRun", "Size": "RunLength", "Piece": "Run"}


def run_lengths(levels: Levels) -> dict[str, Float64[np.ndarray, " image"]]:
    """16 features of every image by PyRadiomics' names, averaged over directions. Levels count from 1."""
    directions = (levels, levels.transpose(0, 2, 1), _diagonals(levels), _diagonals(levels[:, ::-1]))
    owners, values, lengths = zip(*(_runs(lines) for lines in directions), strict=True)
    of = np.concatenate([index * len(levels) + own for index, own in enumerate(owners)])
    groups = Groups(of, len(directions) * len(levels))
    found = emphasis(groups, np.concatenate(values), np.concatenate(lengths), _NAMES)
    return over_directions(found, len(levels))


def _diagonals(levels: Levels) -> Int64[np.ndarray, "image line pixel"]:
    """Every descending diagonal as a line, filled up with `_OUTSIDE`."""
    images, rows, columns = levels.shape
    sheared = np.full((images, rows, rows + columns), _OUTSIDE)
    for row in range(rows):
        sheared[:, row, rows - row : rows - row + columns] = levels[:, row]
    return sheared.transpose(0, 2, 1)


def _runs(
    lines: Int64[np.ndarray, "image line pixel"],
) -> tuple[Int64[np.ndarray, " run"], Int64[np.ndarray, " run"], Int64[np.ndarray, " run"]]:
    """(Image, level, length) of every run along the last axis."""
    flat = np.pad(lines, ((0, 0), (0, 0), (0, 1)), constant_values=_OUTSIDE).ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    lengths, values = np.diff(starts, append=len(flat)), flat[starts]
    inside = values != _OUTSIDE
    return (starts // (len(flat) // len(lines)))[inside], values[inside], lengths[inside]
