"""EDM (Karras et al. 2022, arXiv:2206.00364): noise levels sigma, and a network that is preconditioned for each.

EDM corrupts an image to x + sigma e and shows the network c_in (x + sigma e), with
c_in = 1 / sqrt(sigma^2 + sigma_data^2). Here c_in is part of the path: x_t = c_in x + c_in sigma e, which has the same
size at every level. The network's prediction F makes the image D = c_skip (x + sigma e) + c_out F, with

    c_skip = sigma_data^2 / (sigma^2 + sigma_data^2),    c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2).

EDM's weights lambda = 1 / c_out^2 make its loss that of F alone, |F - (x - c_skip (x + sigma e)) / c_out|^2.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.generators.path import AlphaSigma, Parts, Path, Times
from cmrfed.shapes import Latent, spread

SIGMA_DATA = 0.5
"""Standard deviation of images in [-1, 1]."""
SMALLEST, LARGEST, RHO = 0.002, 80.0, 7.0
"""sigma(t) = (smallest^(1/rho) + t (largest^(1/rho) - smallest^(1/rho)))^rho: steps are short where noise is little."""
LOG_MEAN, LOG_STD = -1.2, 1.2
"""ln sigma is drawn from N(mean, std^2) in training."""


class EDM(Path):
    """Time 0 is the image, 1 the noise."""

    def draw_times(self, count: int, random: torch.Generator) -> Times:
        sigma = (LOG_MEAN + LOG_STD * torch.randn(count, generator=random)).exp()
        return _time_of(sigma).clamp(0, 1)

    def alpha_sigma(self, t: Times) -> AlphaSigma:
        sigma = _sigma(t)
        inner = (sigma**2 + SIGMA_DATA**2).rsqrt()
        return inner, inner * sigma

    def time_at(self, noise_share: float) -> float:
        """noise / (signal + noise) = sigma / (1 + sigma)."""
        sigma = noise_share / max(1 - noise_share, 1e-9)
        return float(_time_of(torch.tensor(min(max(sigma, SMALLEST), LARGEST))))

    def sampling_times(self, steps: int) -> Float[Tensor, " steps"]:
        return torch.linspace(1, 0, steps)

    def target(self, parts: Parts, t: Times) -> Latent:
        """F = (x - c_skip (x + sigma e)) / c_out, which is
        (sigma x - sigma_data^2 e) / (sigma_data sqrt(sigma^2 + sigma_data^2))."""
        sigma = spread(_sigma(t), parts.image)
        size = SIGMA_DATA * (sigma**2 + SIGMA_DATA**2).sqrt()
        return (sigma * parts.image - SIGMA_DATA**2 * parts.noise) / size

    def to_x0_eps(self, prediction: Latent, x_t: Latent, t: Times) -> Parts:
        """x = D, and e = (x + sigma e - D) / sigma, written so that nothing large cancels."""
        sigma = spread(_sigma(t), x_t)
        inner = (sigma**2 + SIGMA_DATA**2).rsqrt()
        image = SIGMA_DATA**2 * inner * x_t + sigma * SIGMA_DATA * inner * prediction
        return Parts(image=image, noise=sigma * inner * x_t - SIGMA_DATA * inner * prediction)


def _sigma(t: Times) -> Times:
    low, high = SMALLEST ** (1 / RHO), LARGEST ** (1 / RHO)
    return (low + t * (high - low)) ** RHO


def _time_of(sigma: Tensor) -> Tensor:
    low, high = SMALLEST ** (1 / RHO), LARGEST ** (1 / RHO)
    return (sigma ** (1 / RHO) - low) / (high - low)
