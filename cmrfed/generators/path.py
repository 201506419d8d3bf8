"""A path from noise to image: how an image is corrupted, and what a network is to say of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.shapes import Latent, spread

_TIMES_APART = 1e-4
"""Times nearer to each other are one, in float32."""

Times = Float[Tensor, " batch"]
AlphaSigma = tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]


@dataclass(frozen=True)
class Parts:
    """A corrupted image taken apart into what a network says it was made from: x_t = signal image + noise e."""

    image: Latent
    noise: Latent


class Path(nn.Module, ABC):
    """x_t = signal(t) x + noise(t) e at times t in [0, 1], and a prediction from which x and e follow.

    Whoever asks how well a generator knows an image need not know the path: times are also noise shares,
    noise / (signal + noise), 0 for an image and 1 for noise, and every prediction is also `Parts`.

    clips: whether a sampler keeps the predicted image within [-1, 1] at each step (as DDPMs do), and not only at the
    end.
    latest: the last time at which a sampler asks; the image that is seen then is the one that was drawn.
    """

    clips: ClassVar[bool] = False
    latest: ClassVar[float] = 1.0

    @abstractmethod
    def draw_times(self, count: int, random: torch.Generator) -> Times:
        """Training times, from the path's density."""

    @abstractmethod
    def alpha_sigma(self, t: Times) -> AlphaSigma:
        """(signal, noise), each >= 0 and not both 0."""

    @abstractmethod
    def time_at(self, noise_share: float) -> float:
        """The time at which noise / (signal + noise) is nearest to the given share in [0, 1]."""

    @abstractmethod
    def sampling_times(self, steps: int) -> Float[Tensor, " steps"]:
        """Times at which a sampler asks the network, from the noisiest on; after the last, it takes the image."""

    def is_asked_at(self, t: float) -> bool:
        """Whether a sampler still asks then."""
        return t < self.latest + _TIMES_APART

    @abstractmethod
    def target(self, parts: Parts, t: Times) -> Latent:
        """What the network is to predict of x_t = signal image + noise e."""

    @abstractmethod
    def to_x0_eps(self, prediction: Latent, x_t: Latent, t: Times) -> Parts:
        """What a prediction says of x_t: the inverse of `target`, given x_t."""

    def network_times(self, t: Times) -> Times:
        """The times in [0, 1] that the network is told."""
        return t

    def corrupt(self, parts: Parts, t: Times) -> Latent:
        """x_t = signal image + noise e."""
        signal, noise = (spread(scale, parts.image) for scale in self.alpha_sigma(t))
        return signal * parts.image + noise * parts.noise
