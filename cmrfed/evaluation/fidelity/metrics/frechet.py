"""Frechet distance between feature sets (FID; Heusel et al., NeurIPS 2017)."""

import torch
from jaxtyping import Float


def frechet_distance(first: Float[torch.Tensor, "n feature"], second: Float[torch.Tensor, "m feature"]) -> float:
    """|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), at least 0 up to rounding.

    Its bias falls as 1/n and is large at hundreds of images: only values of the same n and m may be compared.
    Raises ValueError when a side has fewer than two images, for then it has no covariance.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"FID needs at least two images a side, found {len(first)} and {len(second)}")
    means = [side.double().mean(0) for side in (first, second)]
    roots = [_root(side.double() - mean) for side, mean in zip((first, second), means, strict=True)]
    traces = sum(root.square().sum() for root in roots)
    # With S_i = R_i' R_i, tr (S_1 S_2)^(1/2) is the sum of the singular values of R_1 R_2': no root of a large matrix
    # that is not symmetric, and often singular, has to be found.
    cross = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return float((means[0] - means[1]).square().sum() + traces - 2 * cross)


def _root(centred: Float[torch.Tensor, "n feature"]) -> Float[torch.Tensor, "rank feature"]:
    """R with R'R the covariance, and no more rows than needed."""
    scaled = centred / (len(centred) - 1) ** 0.5
    return scaled if len(scaled) <= scaled.shape[1] else torch.linalg.qr(scaled, mode="r").R
