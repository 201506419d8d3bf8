"""Frechet distance between feature sets (FID; Heusel et al., NeurIPS 2017), computed by torch-fidelity."""

import torch
from jaxtyping import Float
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric


def frechet_distance(first: Float[torch.Tensor, "n feature"], second: Float[torch.Tensor, "m feature"]) -> float:
    """|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), at least 0 up to rounding.

    Its bias falls as 1/n and is large at hundreds of images: only values of the same n and m may be compared.
    Raises ValueError when a side has fewer than two images, for then it has no covariance.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"FID needs at least two images a side, found {len(first)} and {len(second)}")
    first, second = _in_joint_span(first.double().cpu(), second.double().cpu())
    statistics = [fid_features_to_statistics(side) for side in (first, second)]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def _in_joint_span(
    first: Float[torch.Tensor, "n feature"], second: Float[torch.Tensor, "m feature"]
) -> tuple[Float[torch.Tensor, "n axis"], Float[torch.Tensor, "m axis"]]:
    """Coordinates in an orthonormal basis of all images, which keep the distance and make the eigenproblem small."""
    images = torch.cat([first, second])
    if len(images) >= images.shape[1]:
        return first, second
    basis, _ = torch.linalg.qr(images.T)
    return first @ basis, second @ basis
