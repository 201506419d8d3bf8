"""Agreement of two measurements of the same patients (Bland & Altman, Lancet 1986; Stat Methods Med Res 1999).

With d_i = measured - reference of n patients: bias = mean(d); SD with n - 1; limits of agreement = bias +- 1.96 SD, in
which 95 % of differences lie where they are normal. Standard errors: SD / sqrt(n) of the bias, and
SD sqrt(1 / n + 1.96^2 / (2 (n - 1))) of either limit; intervals are Student's with n - 1 degrees of freedom.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import t

LIMIT = 1.96


def bland_altman(measured: Float[np.ndarray, " patient"], reference: Float[np.ndarray, " patient"]) -> dict[str, Any]:
    """In the unit of the measurements.

    Returns {"bias", "lower_limit", "upper_limit": {"value", "ci95"}, "sd", "mean_absolute_error", "patients",
    "undefined"}; `undefined` counts the patients left out because either value is NaN. All but the counts are None
    where fewer than three are left.
    """
    defined = ~(np.isnan(measured) | np.isnan(reference))
    differences = (measured - reference)[defined]
    count = len(differences)
    counts = {"patients": count, "undefined": int((~defined).sum())}
    if count < 3:
        return dict.fromkeys(("bias", "lower_limit", "upper_limit", "sd", "mean_absolute_error")) | counts
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    quantile = float(t.ppf(0.975, count - 1))
    of_bias = quantile * sd / np.sqrt(count)
    of_limit = quantile * sd * np.sqrt(1 / count + LIMIT**2 / (2 * (count - 1)))
    return {
        "bias": _with_interval(bias, of_bias),
        "lower_limit": _with_interval(bias - LIMIT * sd, of_limit),
        "upper_limit": _with_interval(bias + LIMIT * sd, of_limit),
        "sd": sd,
        "mean_absolute_error": float(np.abs(differences).mean()),
        **counts,
    }


def _with_interval(value: float, half_width: float) -> dict[str, Any]:
    return {"value": float(value), "ci95": [float(value - half_width), float(value + half_width)]}
