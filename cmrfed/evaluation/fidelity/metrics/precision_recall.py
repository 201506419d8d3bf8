"""Precision and recall of feature sets (Kynkaanniemi et al., NeurIPS 2019), computed by torch-fidelity."""

import torch
from jaxtyping import Float
from torch_fidelity.metric_prc import prc_features_to_metric

NEIGHBOURS = 3
"""k of the paper: a set's support is every ball around one of its images that reaches its k-th neighbour."""


def precision_recall(
    made: Float[torch.Tensor, "n feature"], real: Float[torch.Tensor, "m feature"]
) -> tuple[float, float]:
    """(Share of made images in the support of the real ones, share of real images in the support of the made ones).

    Slices of one patient are each other's nearest neighbours, which shrinks the balls on both sides alike: compare with
    the floor, not with 1. Both are in [0, 1]; NaN where a side has no k-th neighbour.
    """
    if min(len(made), len(real)) <= NEIGHBOURS:
        return float("nan"), float("nan")
    found = prc_features_to_metric(
        made.double(), real.double(), prc_neighborhood=NEIGHBOURS, prc_batch_size=4096, save_cpu_ram=True, verbose=False
    )
    return found["precision"], found["recall"]
