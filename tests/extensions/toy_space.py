"""A latent space: every two by two pixels become their mean and three differences (Haar's wavelets), stacks too."""

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.generators.spaces import Space
from cmrfed.shapes import Image, Latent

SIGNS = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float32)


class Haar(Space):
    channels = 4
    stride = 2

    def encode(self, images: Image) -> Latent:
        folded = images[:, 0].unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).movedim((-3, -1), (1, 2)).flatten(1, 2)
        return self._turned(folded) / 4

    def decode(self, latents: Latent) -> Image:
        unfolded = self._turned(latents).unflatten(1, (2, 2)).movedim((1, 2), (-3, -1))
        return unfolded.flatten(-4, -3).flatten(-2, -1)[:, None]

    def _turned(self, four: Float[Tensor, "batch 4 *grid"]) -> Float[Tensor, "batch 4 *grid"]:
        return torch.einsum("ij,bj...->bi...", SIGNS.to(four), four)
