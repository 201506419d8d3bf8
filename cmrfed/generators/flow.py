"""Rectified flow (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747).

x_t = t x_1 + (1 - t) x_0 between noise x_0 and image x_1; the network predicts the velocity v = x_1 - x_0.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.generators.path import AlphaSigma, Parts, Path, Times
from cmrfed.shapes import Latent, spread


class Flow(Path):
    """Straight lines. Times are logit-normal (Esser et al. 2024, arXiv:2403.03206).

    Of the last tenth of the way a small network knows little, and leaves white noise in even tissue: images that are
    taken before it are nearer to real ones, and segmenters learn more from them (docs/foundation.md, "What KID finds
    wrong").
    """

    latest = 0.9

    def draw_times(self, count: int, random: torch.Generator) -> Times:
        return torch.sigmoid(torch.randn(count, generator=random))

    def alpha_sigma(self, t: Times) -> AlphaSigma:
        return t, 1 - t

    def time_at(self, noise_share: float) -> float:
        return 1 - noise_share

    def sampling_times(self, steps: int) -> Float[Tensor, " steps"]:
        """t = 0, 1/n, ..., (n-1)/n, so that a deterministic step is Euler's; those after `latest` are left out."""
        return torch.tensor([t for t in (step / steps for step in range(steps)) if self.is_asked_at(t)])

    def target(self, parts: Parts, t: Times) -> Latent:
        return parts.image - parts.noise

    def to_x0_eps(self, prediction: Latent, x_t: Latent, t: Times) -> Parts:
        """x_1 = x_t + (1 - t) v and x_0 = x_t - t v."""
        t = spread(t, x_t)
        return Parts(image=x_t + (1 - t) * prediction, noise=x_t - t * prediction)
