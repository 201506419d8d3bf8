"""How alike the images of different patients are: a generator that draws the same heart for all is found out here.

The mean MS-SSIM of pairs of a set (Odena et al., ICML 2017) beside the same among real images: well above it is
collapse, well below it is noise.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from cmrfed.evaluation.fidelity.metrics.pixels.paired import ms_ssim
from cmrfed.shapes import Image
from cmrfed.statistics import percentile_interval

PAIRS_AN_IMAGE = 4
_AT_ONCE = 256

Pairs = Int[torch.Tensor, "pair 2"]


def pair_similarity(
    images: Image, patients: Int[torch.Tensor, " batch"], replicates: int, seed: int
) -> tuple[float, list[float]]:
    """(Mean MS-SSIM over pairs of different patients' images, its 95 % interval over patients).

    Every image meets 4 others at most, drawn by the seed: two sets with the same patients have the same pairs. In the
    bootstrap a pair counts as often as both its patients were drawn. Raises ValueError when there is one patient alone.
    """
    pairs = _pairs(patients, seed)
    values = torch.cat([ms_ssim(images[part[:, 0]], images[part[:, 1]]) for part in pairs.split(_AT_ONCE)])
    names, index = np.unique(patients.numpy(), return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), replicates)
    found = values.double().cpu().numpy()
    means = _means(found, draws[:, index[pairs[:, 0]]] * draws[:, index[pairs[:, 1]]])
    return float(found.mean()), percentile_interval(means)


def _means(
    values: Float[np.ndarray, " pair"], weights: Int[np.ndarray, "replicate pair"]
) -> Float[np.ndarray, " kept"]:
    """Weighted means, of the replicates that drew a pair at all."""
    totals = weights.sum(1)
    return (weights @ values)[totals > 0] / totals[totals > 0]


def _pairs(patients: Int[torch.Tensor, " batch"], seed: int) -> Pairs:
    """Every image with others at random, as far as they are another patient's."""
    if len(patients.unique()) < 2:
        raise ValueError("similarity between patients needs two of them, found one")
    random = torch.Generator().manual_seed(seed)
    images = torch.arange(len(patients))
    shuffled = [torch.randperm(len(patients), generator=random) for _ in range(PAIRS_AN_IMAGE)]
    pairs = torch.cat([torch.stack([images, other], 1) for other in shuffled])
    apart = patients[pairs[:, 0]] != patients[pairs[:, 1]]
    return pairs[apart] if apart.any() else _first_apart(patients)


def _first_apart(patients: Int[torch.Tensor, " batch"]) -> Pairs:
    """One pair, for a set so small that chance found none."""
    other = int((patients != patients[0]).nonzero()[0])
    return torch.tensor([[0, other]])
