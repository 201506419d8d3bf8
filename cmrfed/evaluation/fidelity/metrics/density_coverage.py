"""Density and coverage of feature sets (Naeem et al., ICML 2020): precision and recall that outliers do not stretch."""

import torch
from jaxtyping import Float

NEIGHBOURS = 5
"""k of the paper's experiments: each real image's ball reaches its k-th real neighbour."""


def density_coverage(
    made: Float[torch.Tensor, "n feature"], real: Float[torch.Tensor, "m feature"]
) -> tuple[float, float]:
    """Density: balls around real images that a made image lies in, over k, on average; 0 or more, 1 for one
    distribution. Coverage: share of the real images with a made image in their ball, in [0, 1].

    (1 / (k n)) sum_ij 1[y_j in B(x_i)] and (1 / m) sum_i 1[some y_j in B(x_i)], x real, y made. NaN where a real image
    has no k-th neighbour.
    """
    if len(real) <= NEIGHBOURS:
        return float("nan"), float("nan")
    made, real = made.double(), real.double()
    radii = torch.cdist(real, real).kthvalue(NEIGHBOURS + 1, dim=1).values
    inside = torch.cdist(real, made) < radii[:, None]
    return float(inside.sum()) / (NEIGHBOURS * len(made)), float(inside.any(dim=1).double().mean())
