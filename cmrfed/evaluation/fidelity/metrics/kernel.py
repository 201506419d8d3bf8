"""Kernel distance between feature sets (KID; Binkowski et al., ICLR 2018), computed by torch-fidelity."""

import torch
from jaxtyping import Float
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric


def kernel_distance(first: Float[torch.Tensor, "n feature"], second: Float[torch.Tensor, "n feature"]) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / features + 1)^3, the unbiased estimate on all images.

    Unbiased means that it is zero on average, and often below zero, when both sides have the same distribution.
    Raises ValueError when a side has fewer than two images, or the sides do not have equally many.
    """
    if len(first) < 2 or len(first) != len(second):
        raise ValueError(f"KID needs at least two images a side, equally many; found {len(first)} and {len(second)}")
    # One subset of every image is the plain estimate, without torch-fidelity's random subsets.
    found = kid_features_to_metric(
        first.double(), second.double(), kid_subsets=1, kid_subset_size=len(first), verbose=False
    )
    return found[KEY_METRIC_KID_MEAN]
