"""What is believable of a cardiac volume, checked before memory or an hour is spent on it."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Shaped

from cmrfed.conditions import UNLABELLED
from cmrfed.config import UserError
from cmrfed.shapes import Label

MAX_AXIS = 1024
"""Longest believable axis of a cardiac volume, in voxels."""
MAX_VOXELS = 2**26
"""Most voxels of a single volume: a whole-heart scan of 512 x 512 x 256."""
MAX_FRAME_VOXELS = 2**24
"""Most voxels of a cine's frame: a stack of 1024 x 1024 x 16."""
MAX_BYTES = 2 * 1024**3
"""Largest file, unpacked, that is read. A few kilobytes of gzip can claim far more."""
SPACING_RANGE_MM = (0.05, 50.0)
"""Believable distances between voxel centres; metres and micrometres fall outside."""


def check_size(shape: tuple[int, ...], bytes_per_voxel: int, name: object) -> None:
    """Refuse what claims more voxels or memory than any cardiac volume has."""
    most = MAX_FRAME_VOXELS if len(shape) > 3 and shape[3] > 1 else MAX_VOXELS
    if min(shape) < 1 or max(shape) > MAX_AXIS or np.prod(shape[:3], dtype=np.int64) > most:
        raise UserError(
            f"{name}: claims {shape} voxels; each axis of a cardiac volume has 1 to {MAX_AXIS}, "
            f"and a frame at most {most // 2**20} million"
        )
    unpacked = int(np.prod(shape, dtype=np.int64)) * bytes_per_voxel
    if unpacked > MAX_BYTES:
        raise UserError(f"{name}: claims {unpacked / 2**30:.1f} GiB unpacked; at most {MAX_BYTES // 2**30} GiB is read")


def check_finite(voxels: Shaped[np.ndarray, "..."], name: object) -> None:
    """Refuse NaN and infinities."""
    bad = voxels.size - np.count_nonzero(np.isfinite(voxels))
    if bad:
        raise UserError(f"{name}: {bad} voxels are NaN or infinite; export the volume again without them")


def check_spacing(spacing_mm: Iterable[float], name: object) -> None:
    """Refuse distances between voxels that no scanner uses."""
    low, high = SPACING_RANGE_MM
    distances = tuple(spacing_mm)
    if not all(low <= distance <= high for distance in distances):
        shown = " x ".join(f"{distance:g}" for distance in distances)
        raise UserError(f"{name}: voxel spacing {shown} mm is outside {low:g} to {high:g} mm; correct the header")


def listed(labels: Mapping[int, int]) -> str:
    """A label table for people."""
    names = {**{label.value: label.name for label in Label}, UNLABELLED: "UNLABELLED"}
    return ", ".join(f"{number} {names[label]}" for number, label in labels.items())


def one_line(error: object) -> str:
    """What a library says went wrong, on one line that fits a terminal."""
    return printable(" ".join(str(error).split()))[:300] or type(error).__name__


def printable(text: str) -> str:
    """The text with what would move the cursor or hide other text replaced."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
