"""Gradient membership inference taught by shadow models (GSA1, Pang et al. 2023, arXiv:2308.03405).

Which layers' gradients give a member away is learnt where membership is known: with g_kil the gradient of patient i's
mean loss by the trained weights of layer l under shadow k, boosted trees are fitted to

    x_kil = log |g_kil| - mean_i log |g_kil|,    y_ki = whether shadow k was trained on patient i,

and the score is their log odds of membership at the target's own x_il.

A shadow is trained for other steps than the target, and without its noise, so that all of a layer's norms may be larger
or smaller: the mean over patients takes that away, and knows nobody's membership. What is left is who stands out.

The trees may be fitted to the very patients whom they are then asked about: each is in exactly half of the shadows
(`halves`), so that what is peculiar to a patient goes with either answer equally often.
"""

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingClassifier

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.shadow import Shadows

_TREES = {"max_iter": 200, "learning_rate": 0.05, "max_leaf_nodes": 4, "min_samples_leaf": 10, "max_features": 0.1}
"""Small, slow trees, since rows are few (shadows x patients). Each split chooses among a tenth of the layers: where
one layer tells all, trees of that one alone would give most patients the same score."""


def gradient_shadow_scores(shadows: Shadows) -> Float[np.ndarray, " patient"]:
    """Log odds of membership by boosted trees on the gradients' norms by layer.

    Raises ValueError without gradients.
    """
    target, known = shadows.target.gradients, shadows.shadows.gradients
    if target is None or known is None:
        raise ValueError("needs the gradients of the target and of every shadow, found none")
    trees = HistGradientBoostingClassifier(**_TREES, early_stopping=False, random_state=0)
    trees.fit(_centred(known).reshape(-1, known.shape[-1]), shadows.trained_on.reshape(-1))
    return np.asarray(trees.decision_function(_centred(target)), dtype=np.float64)


def _centred(logs: Float[np.ndarray, "*model patient layer"]) -> Float[np.ndarray, "*model patient layer"]:
    """Each model's, less their mean over patients."""
    return logs - logs.mean(axis=-2, keepdims=True)


GRADIENT_SHADOW = Attack(
    scores=gradient_shadow_scores,
    needs="shadows",
    access="gradients",
    family="gradient",
    paper="Pang et al. 2023, arXiv:2308.03405",
    meaning="The same, layer by layer, as similar generators whose patients are known teach.",
)
