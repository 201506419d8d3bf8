"""Vendor style as an identifier: can the site be told from a synthetic image whose condition does not name it?

A classifier learns from real training patients which of several sites of the *same vendor* an image's intensities and
texture are of. It is then shown synthetic images, each drawn for a held-out patient's mask and that vendor: nothing
told the generator the site. Accuracy above chance on them says that a site's style got through.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmrfed.evaluation.leakage.attacks.copies import Figures
from cmrfed.statistics import percentile_interval


def style_recovery(
    real: Float[np.ndarray, "patient statistic"],
    real_sites: Sequence[str],
    held_out: Float[np.ndarray, "other statistic"],
    synthetic: Float[np.ndarray, "other statistic"],
    held_out_sites: Sequence[str],
    replicates: int = 1000,
    seed: int = 0,
) -> Figures:
    """Balanced accuracy of the site on "synthetic" images, with "_ci95" by bootstrap over patients and "_p" by
    permutation of their sites; on the "held_out" real images of the same patients, which is what could be told at best;
    and "chance", one in the number of sites.

    Statistics are means over each patient's images. Raises ValueError unless two sites are among the real patients.
    """
    if len(set(real_sites)) < 2:
        raise ValueError(f"telling sites apart needs two, found {sorted(set(real_sites))}")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced")).fit(real, real_sites)
    truth, random = np.array(held_out_sites), np.random.default_rng(seed)
    guessed = model.predict(synthetic)
    accuracy = balanced_accuracy(truth, guessed)
    shuffled = [balanced_accuracy(random.permutation(truth), guessed) for _ in range(replicates)]
    return {
        "synthetic": accuracy,
        "synthetic_ci95": _interval(truth, guessed, replicates, seed),
        "synthetic_p": float((1 + np.sum(np.array(shuffled) >= accuracy)) / (1 + replicates)),
        "held_out": balanced_accuracy(truth, model.predict(held_out)),
        "chance": 1 / len(set(held_out_sites)),
        "sites": len(set(held_out_sites)),
        "patients": len(truth),
    }


def balanced_accuracy(truth: np.ndarray, guessed: np.ndarray) -> float:
    """Mean over sites of the share of its patients that are guessed right: scikit-learn's, many times faster."""
    _, site = np.unique(truth, return_inverse=True)
    return float(np.mean(np.bincount(site, weights=truth == guessed) / np.bincount(site)))


def _interval(truth: np.ndarray, guessed: np.ndarray, replicates: int, seed: int) -> list[float]:
    """Patients are resampled within their sites, so that none goes missing."""
    random = np.random.default_rng(seed)
    hits = [(guessed == truth)[truth == site] for site in np.unique(truth)]
    draws = [np.mean([random.choice(own, len(own)).mean() for own in hits]) for _ in range(replicates)]
    return percentile_interval(np.array(draws))
