"""Inception score (Salimans et al., NeurIPS 2016), computed by torch-fidelity."""

import torch
from jaxtyping import Float
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric


def inception_score(logits: Float[torch.Tensor, "image kind"]) -> float:
    """exp of the mean over images of KL(p(kind | image) || p(kind)), in one split; from 1 to the number of kinds.

    The kinds are ImageNet's, none of which is a heart: it tells how varied images look to a network of photographs, and
    means something only beside the score of as many real images. Raises ValueError when there is no image.
    """
    if len(logits) == 0:
        raise ValueError("an inception score needs at least one image, found none")
    return isc_features_to_metric(logits, splits=1, shuffle=False)[KEY_METRIC_ISC_MEAN]
