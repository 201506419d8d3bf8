"""First-order features: the distribution of an image's values, wherever they are."""

import numpy as np
from jaxtyping import Float64, Int64

from cmrfed.evaluation.fidelity.metrics.radiomics.counting import Groups

_SHIFT = 300.0
"""Added before squaring, so that no value is negative: three standard deviations."""


def first_order(
    images: Float64[np.ndarray, "image row column"], levels: Int64[np.ndarray, "image row column"]
) -> dict[str, Float64[np.ndarray, " image"]]:
    """17 features of every image by PyRadiomics' names; entropy and uniformity are of the binned values."""
    values = images.reshape(len(images), -1)
    low, quarter, median, three_quarters, high = np.percentile(values, [10, 25, 50, 75, 90], axis=1)
    mean, variance = values.mean(1), values.var(1)
    centred, shifted = values - mean[:, None], values + _SHIFT
    squared = centred * centred
    within = np.where((values >= low[:, None]) & (values <= high[:, None]), values, np.nan)
    spread = np.where(variance > 0, variance, 1)
    bins = Groups(np.repeat(np.arange(len(images)), values.shape[1]), len(images)).spread(levels.ravel())
    return {
        "Energy": (shifted**2).sum(1),
        "Entropy": bins.entropy,
        "Minimum": values.min(1),
        "10Percentile": low,
        "90Percentile": high,
        "Maximum": values.max(1),
        "Mean": mean,
        "Median": median,
        "InterquartileRange": three_quarters - quarter,
        "Range": np.ptp(values, axis=1),
        "MeanAbsoluteDeviation": np.abs(centred).mean(1),
        "RobustMeanAbsoluteDeviation": np.nanmean(np.abs(within - np.nanmean(within, 1, keepdims=True)), 1),
        "RootMeanSquared": np.sqrt((shifted**2).mean(1)),
        "Skewness": (squared * centred).mean(1) / spread**1.5,
        "Kurtosis": (squared * squared).mean(1) / spread**2,
        "Variance": variance,
        "Uniformity": bins.squared_counts / values.shape[1] ** 2,
    }
