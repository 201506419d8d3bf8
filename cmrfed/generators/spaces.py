"""Where a path runs: among pixels, or in a space that images are encoded to."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from cmrfed.config import GeneratorConfig
from cmrfed.generators.contract import Objective
from cmrfed.shapes import Image, Latent


class Space(nn.Module, ABC):
    """A pair of maps between images and what a network of a path sees; neither mixes rows of a batch.

    channels: of a latent. stride: pixels a side, of row and column, that one latent stands for. bounded: whether
    latents are within [-1, 1], as images are.
    """

    channels: int = 1
    stride: int = 1
    bounded: ClassVar[bool] = True

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()

    @property
    def objectives(self) -> Sequence[Objective]:
        """How it learns, where it does: before the path that runs in it, in public or in a stage of its own."""
        return ()

    @property
    def first_stage(self) -> int:
        """That of what runs in it: after its own."""
        return 1 + max((one.stage for one in self.objectives if one.stage is not None), default=-1)

    @abstractmethod
    def encode(self, images: Image) -> Latent:
        """The latents of images, of about unit size; decided by the image alone."""

    @abstractmethod
    def decode(self, latents: Latent) -> Image:
        """The images of latents, in [-1, 1] once clamped."""


class Pixel(Space):
    """Images as they are."""

    def encode(self, images: Image) -> Latent:
        return images

    def decode(self, latents: Latent) -> Image:
        return latents
