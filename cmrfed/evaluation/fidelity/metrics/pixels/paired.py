"""Scores of one image against another of the same mask: SSIM and MS-SSIM by MONAI, and errors of pixels.

A generator draws one of many hearts that fit a mask, so a perfect one scores no better than a real image of another
patient with a like mask. That floor, and not 1 or 0, is what these scores are compared with.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from monai.metrics.regression import compute_ms_ssim, compute_ssim_and_cs

from cmrfed.shapes import Image

RANGE = 2.0
"""Width of [-1, 1]."""
KERNEL, SIGMA = 11, 1.5
"""The window of the published SSIM, in pixels."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the published MS-SSIM, finest scale first."""

PerImage = Float[torch.Tensor, " batch"]


def ssim(first: Image, second: Image) -> PerImage:
    """Structural similarity (Wang et al., IEEE TIP 2004), at most 1, mean over the window's places.

    Raises ValueError when a side is shorter than the window.
    """
    _refuse_small(first)
    maps, _ = compute_ssim_and_cs(
        first, second, spatial_dims=2, kernel_size=(KERNEL, KERNEL), kernel_sigma=(SIGMA, SIGMA), data_range=RANGE
    )
    return maps.flatten(1).mean(1)


def ms_ssim(first: Image, second: Image) -> PerImage:
    """Structural similarity over scales (Wang et al., Asilomar 2003), from 0 to 1.

    The published window needs 161 pixels a side for the published five scales; a smaller image has the finest of them
    that the window fits in, with their weights made to sum to 1: three at 64 pixels. Raises ValueError as `ssim` does.
    """
    _refuse_small(first)
    weights = SCALE_WEIGHTS[: scales_of(min(first.shape[-2:]))]
    total = sum(weights)
    found = compute_ms_ssim(
        first,
        second,
        spatial_dims=2,
        data_range=RANGE,
        kernel_size=KERNEL,
        kernel_sigma=SIGMA,
        weights=[weight / total for weight in weights],
    )
    return found[:, 0]


def scales_of(side: int) -> int:
    """How many scales the window fits in, each half the last; MONAI's own check is another, and both must hold."""
    counts = range(1, len(SCALE_WEIGHTS) + 1)
    fitting = (n for n in counts if side // 2 ** (n - 1) >= KERNEL and side // max(1, n - 1) ** 2 >= KERNEL)
    return max(fitting, default=0)


def mse(first: Image, second: Image) -> PerImage:
    """Mean squared error, on the scale of [-1, 1]."""
    return (first - second).square().flatten(1).mean(1)


def mae(first: Image, second: Image) -> PerImage:
    """Mean absolute error, on the scale of [-1, 1]."""
    return (first - second).abs().flatten(1).mean(1)


def psnr(first: Image, second: Image) -> PerImage:
    """Peak signal-to-noise ratio, 10 log10(4 / MSE), in dB; infinite for equal images."""
    return 10 * (RANGE**2 / mse(first, second)).log10()


def nrmse(first: Image, second: Image) -> PerImage:
    """Root of the mean squared error over the range of the second image; NaN where that has one value."""
    low, high = second.flatten(1).aminmax(dim=1)
    return mse(first, second).sqrt() / torch.where(high > low, high - low, torch.nan)


def _refuse_small(images: Image) -> None:
    if min(images.shape[-2:]) < KERNEL:
        raise ValueError(f"SSIM needs {KERNEL} pixels a side, found {tuple(images.shape[-2:])}")


PAIRED: dict[str, Callable[[Image, Image], PerImage]] = {
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "psnr": psnr,
    "mae": mae,
    "mse": mse,
    "nrmse": nrmse,
}
"""Every score of (image, real image) by the name it has in a report."""
