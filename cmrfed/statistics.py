"""The interval that several scores share. Slices of one patient resemble each other, so whole patients are drawn."""

import numpy as np
from jaxtyping import Float


def percentile_interval(replicates: Float[np.ndarray, " replicate"]) -> list[float]:
    """[low, high], the central 95 % of bootstrap replicates (Efron's percentile interval)."""
    low, high = np.percentile(replicates, [2.5, 97.5])
    return [float(low), float(high)]


def bootstrap_mean_interval(values: Float[np.ndarray, " patient"], replicates: int, seed: int) -> list[float]:
    """[low, high], the 95 % bootstrap interval of a mean over patients.

    values: one number a patient. Raises ValueError when there is none.
    """
    if len(values) == 0:
        raise ValueError("a bootstrap interval needs at least one patient, found none")
    draws = np.random.default_rng(seed).integers(len(values), size=(replicates, len(values)))
    return percentile_interval(values[draws].mean(axis=1))
