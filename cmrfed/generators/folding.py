"""Patches of pixels folded into channels, and back: the grid that a network works on is coarser, and nothing is lost.

Rows and columns alone are folded. A stack keeps its levels, of which there are few and far apart.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cmrfed.shapes import Latent

Folded = Float[Tensor, "batch folded *coarser"]


def folded(images: Latent, patch: int) -> Folded:
    """`patch` x `patch` pixels of each channel as channels of one place."""
    return F.pixel_unshuffle(images.movedim(1, -3), patch).movedim(-3, 1)


def unfolded(images: Folded, patch: int) -> Latent:
    """The inverse of `folded`."""
    return F.pixel_shuffle(images.movedim(1, -3), patch).movedim(-3, 1)
