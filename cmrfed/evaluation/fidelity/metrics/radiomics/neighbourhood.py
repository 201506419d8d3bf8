"""Neighbouring grey tone differences (NGTDM; Amadasun & King, IEEE TSMC 1989): levels against their surroundings."""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.ndimage import convolve

_ALL_ROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])[None]


def neighbourhood(levels: Int64[np.ndarray, "image row column"]) -> dict[str, Float64[np.ndarray, " image"]]:
    """5 features of every image by PyRadiomics' names. Levels count from 1."""
    around = convolve(levels, _ALL_ROUND, mode="constant")
    counts = convolve(np.ones_like(levels[:1]), _ALL_ROUND, mode="constant")
    differences = np.abs(levels - around / counts)
    rows = [_of_one(image.ravel(), own.ravel()) for image, own in zip(levels, differences, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _of_one(levels: Int64[np.ndarray, " pixel"], differences: Float64[np.ndarray, " pixel"]) -> dict[str, float]:
    """With p the share of pixels of level i, and s their sum of differences."""
    i, index, counts = np.unique(levels, return_inverse=True, return_counts=True)
    p, s = counts / len(levels), np.bincount(index, differences)
    steps = np.abs(i[:, None] - i)
    unlikeness, weighted = float(np.abs(i * p - (i * p)[:, None]).sum()), float((p * s).sum())
    both = p + p[:, None]
    contrast = (p * p[:, None] * steps**2).sum() * s.sum() / len(levels)
    return {
        "Coarseness": 1 / weighted if weighted else 1e6,
        "Contrast": float(contrast / (len(i) * (len(i) - 1))) if len(i) > 1 else 0.0,
        "Busyness": weighted / unlikeness if unlikeness else 0.0,
        "Complexity": float((steps * (p * s + (p * s)[:, None]) / both).sum() / len(levels)),
        "Strength": float((both * steps**2).sum() / s.sum()) if s.sum() else 0.0,
    }
