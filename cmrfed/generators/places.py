"""Where a place of a grid is, in numbers that a network of any size of grid can be told."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def cosines(grid: Sequence[int], waves: int, like: Tensor) -> Float[Tensor, "wave row column"]:
    """The slowest `waves` x `waves` cosines over rows and columns, those of the discrete cosine transform (DCT-II): the
    first is 1 everywhere, and no two have a product whose mean is not 0. Device and dtype are those of `like`."""
    along_rows, along_columns = (_cosines(length, waves, like) for length in grid)
    return (along_rows[:, None, :, None] * along_columns[None, :, None, :]).flatten(0, 1)


def _cosines(length: int, waves: int, like: Tensor) -> Float[Tensor, "wave place"]:
    places = (torch.arange(length, device=like.device) + 0.5) / length
    angles = torch.pi * torch.arange(waves, device=like.device)[:, None] * places
    return angles.cos().to(like.dtype)


def moments(features: Float[Tensor, "batch channel row column"], waves: int) -> Float[Tensor, "batch moment"]:
    """How much of each of the slowest cosines is in each channel: what is where, on a grid of any size, in equally many
    numbers. A product of matrices, which is the same on every machine from one run to the next, as pooling is not."""
    basis = cosines(features.shape[2:], waves, features).flatten(1)
    return (features.flatten(2) @ basis.T / basis.shape[1]).flatten(1)
