"""The data-copying test (Meehan, Chaudhuri and Dasgupta, AISTATS 2020, arXiv:2004.05675), with one cell.

A generator that copies puts its images nearer to the training set than other real images lie. The Mann-Whitney
statistic compares the two sets of distances; its z is near 0 for a generator as free as nature, far below 0 for a
copier, above 0 for one that stays away from the training set, as an underfitted one does.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import mannwhitneyu, norm


def data_copying(synthetic: Float[np.ndarray, " made"], held_out: Float[np.ndarray, " patient"]) -> tuple[float, float]:
    """(z, one-sided p of copying) from distances to the nearest training image, one a patient (a mean over slices):
    of synthetic images, by the patient whose mask was drawn for, and of held-out real ones."""
    low = mannwhitneyu(synthetic, held_out, alternative="less", method="asymptotic")
    return float(norm.ppf(np.clip(low.pvalue, 1e-300, 1 - 1e-16))), float(low.pvalue)
