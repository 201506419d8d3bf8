"""Rectified flow (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747).

x_t = t x_1 + (1 - t) x_0 between noise x_0 and image x_1; the network predicts the velocity v = x_1 - x_0.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.generators.protocol import Draws, Generator, Parts
from cmrfed.shapes import Condition, Image, Mask


class Flow(Generator):
    """Straight paths from noise to image. Times are logit-normal (Esser et al. 2024, arXiv:2403.03206)."""

    def draw_times(self, count: int, random: torch.Generator) -> Float[Tensor, " batch"]:
        return torch.sigmoid(torch.randn(count, generator=random))

    def target(self, images: Image, noises: Image) -> Image:
        return images - noises

    def losses(self, images: Image, masks: Mask, conditions: Condition, draws: Draws) -> Float[Tensor, " batch"]:
        t = draws.times[:, None, None, None]
        x_t = t * images + (1 - t) * draws.noises
        velocity = self.network(x_t, draws.times, masks, conditions, draws.kept)
        return (velocity - self.target(images, draws.noises)).square().flatten(1).mean(1)

    def denoise(self, noises: Image, masks: Mask, conditions: Condition, steps: int, guidance: float) -> Image:
        """Euler steps from t = 0 (noise) to t = 1 (image)."""
        x_t = noises
        for step in range(steps):
            t = torch.full((len(x_t),), step / steps, device=x_t.device)
            x_t = x_t + self.guided(x_t, t, masks, conditions, guidance) / steps
        return x_t

    def scales(self, t: Float[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        return t, 1 - t

    def time_at(self, noise_share: float) -> float:
        return 1 - noise_share

    def take_apart(self, prediction: Image, x_t: Image, t: Float[Tensor, " batch"]) -> Parts:
        """x_1 = x_t + (1 - t) v and x_0 = x_t - t v."""
        t = t[:, None, None, None]
        return Parts(image=x_t + (1 - t) * prediction, noise=x_t - t * prediction)
