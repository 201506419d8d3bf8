"""How much of a noised update is believed: less where it is about as long as its noise alone would be.

An update u = m + z of d numbers with noise z ~ N(0, s^2 I) of known size is nearer to m, on average and whatever m is,
when it is multiplied by

    max(0, 1 - (d - 2) s^2 / |u|^2),    d > 2

(James and Stein 1961; the positive part: Baranchik 1964). Here it is done piece by piece, as one piece may be all noise
and another hardly any; and pieces must stand out of their noise by `GUARD` standard deviations of its length before any
of them is believed. Without that guard half of the pieces that are noise alone would be believed a little, which where
there is hardly anything else adds up to harm. It is post-processing: s is public, and no site is asked for more.
"""

import math

import numpy as np

from cmrfed.updates import Weights

GUARD = 2.0
PIECE = 40
"""Numbers that are believed alike: neighbours, as directions are that come in the order of their steepness."""


def shrunk(update: Weights, noise_std: float) -> Weights:
    """The update with each piece of each array multiplied by its factor. noise_std: of every number in it, >= 0."""
    return {name: _shrunk(array, noise_std) for name, array in update.items()}


def _shrunk(array: np.ndarray, noise_std: float) -> np.ndarray:
    flat = array.astype(np.float64).ravel()
    pieces = np.array_split(flat, max(1, round(flat.size / PIECE)))
    believed = np.concatenate([piece * _factor(piece, noise_std) for piece in pieces])
    return believed.reshape(array.shape).astype(array.dtype)


def _factor(piece: np.ndarray, noise_std: float) -> float:
    square = float(piece @ piece)
    if square == 0 or piece.size <= 2:
        return 1.0
    # of |z|^2 / s^2, whose mean is d and whose standard deviation is sqrt(2 d)
    noise = piece.size - 2 + GUARD * math.sqrt(2 * piece.size)
    return max(0.0, 1 - noise * noise_std**2 / square)
