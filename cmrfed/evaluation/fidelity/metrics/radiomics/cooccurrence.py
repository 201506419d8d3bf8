"""Grey-level co-occurrence (GLCM; Haralick et al., IEEE TSMC 1973): which levels stand beside which.

p(i, j) is the share of neighbouring pixels with levels i and j, in both orders, in one of four directions; features are
averaged over directions. The matrix is never built: its sums are sums over the pairs themselves.
"""

import numpy as np
from jaxtyping import Float64, Int64

from cmrfed.evaluation.fidelity.metrics.radiomics.counting import Groups, Levels, PerGroup, over_directions

Pairs = Int64[np.ndarray, " pair"]


def cooccurrence(levels: Levels) -> dict[str, Float64[np.ndarray, " image"]]:
    """The recipe's 22 features of every image by PyRadiomics' names. Levels count from 1."""
    images, directions = len(levels), _directions(levels)
    owners = [np.repeat(d * images + np.arange(images), 2 * one[0].size) for d, (one, _) in enumerate(directions)]
    pairs = Groups(np.concatenate(owners), len(directions) * images)
    i = np.concatenate([np.concatenate([a, b], 1).ravel() for a, b in directions])
    j = np.concatenate([np.concatenate([b, a], 1).ravel() for a, b in directions])
    groups, (i, j) = pairs.distinct(i, j)
    largest = np.tile(levels.max((1, 2)), len(directions))
    found = _moments(groups, i, j) | _differences(groups, np.abs(i - j), largest) | _information(groups, i, j)
    return over_directions(found, images)


def _directions(levels: Levels) -> list[tuple[Int64[np.ndarray, "image n"], Int64[np.ndarray, "image n"]]]:
    """Levels of all pixels with a neighbour on the right, below, and on either diagonal, and of that neighbour."""
    pairs = [
        (levels[:, :, :-1], levels[:, :, 1:]),
        (levels[:, :-1], levels[:, 1:]),
        (levels[:, :-1, :-1], levels[:, 1:, 1:]),
        (levels[:, 1:, :-1], levels[:, :-1, 1:]),
    ]
    return [(a.reshape(len(levels), -1), b.reshape(len(levels), -1)) for a, b in pairs]


def _moments(groups: Groups, i: Pairs, j: Pairs) -> dict[str, PerGroup]:
    """Both orders of every pair are there, so that rows and columns have the same mean and variance."""
    mean = groups.means(i.astype(np.float64))
    from_mean = i - mean[groups.of]
    both = from_mean + (j - mean[groups.of])
    squared = both * both
    variance, product = groups.means(from_mean**2), groups.means((i * j).astype(np.float64))
    return {
        "Autocorrelation": product,
        "JointAverage": mean,
        "ClusterProminence": groups.means(squared * squared),
        "ClusterShade": groups.means(squared * both),
        "ClusterTendency": groups.means(squared),
        "Correlation": np.where(variance > 0, (product - mean**2) / np.where(variance > 0, variance, 1), 1.0),
        "SumSquares": variance,
    }


def _differences(groups: Groups, steps: Pairs, largest: Int64[np.ndarray, " group"]) -> dict[str, PerGroup]:
    """Features of |i - j|; `largest` is the highest level of each group's image."""
    k, highest = steps.astype(np.float64), largest[groups.of]
    average = groups.means(k)
    return {
        "Contrast": groups.means(k**2),
        "DifferenceAverage": average,
        "DifferenceEntropy": groups.spread(steps).entropy,
        "DifferenceVariance": groups.means((k - average[groups.of]) ** 2),
        "Idm": groups.means(1 / (1 + k**2)),
        "Idmn": groups.means(1 / (1 + (k / highest) ** 2)),
        "Id": groups.means(1 / (1 + k)),
        "Idn": groups.means(1 / (1 + k / highest)),
        "InverseVariance": groups.means(np.where(k > 0, 1 / np.maximum(k, 1) ** 2, 0)),
    }


def _information(groups: Groups, i: Pairs, j: Pairs) -> dict[str, PerGroup]:
    """Entropies in bits. With equal margins, both HXY1 and HXY2 of Haralick are twice a margin's entropy."""
    margin, joint, pairs = groups.spread(i).entropy, groups.spread(i, j), groups.sums()
    shared = 2 * margin - joint.entropy
    return {
        "JointEnergy": joint.squared_counts / pairs**2,
        "JointEntropy": joint.entropy,
        "Imc1": np.where(margin > 0, -shared / np.where(margin > 0, margin, 1), 0.0),
        "Imc2": np.sqrt(np.maximum(0, 1 - np.exp(-2 * shared))),
        "MaximumProbability": joint.largest_count / pairs,
        "SumEntropy": groups.spread(i + j).entropy,
    }
