"""How far apart two distributions of a measurement are: Wasserstein's distance, and Kolmogorov and Smirnov's."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import wasserstein_distance


def distribution_distances(
    made: Float[torch.Tensor, "n measure"], real: Float[torch.Tensor, "m measure"], names: tuple[str, ...]
) -> dict[str, float]:
    """For every measure, "name": the first Wasserstein distance in standard deviations of the real values, and
    "name_ks": the largest difference of the cumulative shares, from 0 to 1.

    One column a measure, in the order of `names`. Values that are NaN are left out; a distance is NaN where a side
    keeps none, and the first also where the real values do not vary.
    """
    found = {}
    for name, own, reference in zip(names, made.T.numpy(), real.T.numpy(), strict=True):
        own, reference = own[np.isfinite(own)], reference[np.isfinite(reference)]
        enough, spread = len(own) and len(reference), reference.std() if len(reference) else 0.0
        found[name] = float(wasserstein_distance(own, reference) / spread) if enough and spread else float("nan")
        found[f"{name}_ks"] = _kolmogorov_smirnov(own, reference) if enough else float("nan")
    return found


def _kolmogorov_smirnov(own: Float[np.ndarray, " n"], reference: Float[np.ndarray, " m"]) -> float:
    values = np.concatenate([own, reference])
    up_to = [np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (own, reference)]
    return float(np.abs(up_to[0] - up_to[1]).max())
