"""What every network is that walks a path from noise to image."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig, UserError
from cmrfed.shapes import Latent


class Network(nn.Module, ABC):
    """A function of (x_t, t, conditions), and the groups of its weights that may be trained by themselves.

    spatial_dims: 2 for a network of slices (row, column), 3 for one of stacks (level, row, column). channels: of x_t
    and of the prediction, as the space has them.

    Where a condition is UNKNOWN the network must not tell what it would have been: rows with all of them hidden are
    the unconditional branch of classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598).
    """

    spatial_dims: ClassVar[int] = 2

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x_t: Latent, t: Float[Tensor, " batch"], conditions: Conditions) -> Latent:
        """A prediction of x_t's shape. t: times in [0, 1]."""

    @abstractmethod
    def groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Weights by the name that `generator.trainable` has for them; "all" is among them. "modulation", where it is,
        is what `cmrfed.generators.directions` move."""

    def group(self, name: str) -> Iterable[nn.Parameter]:
        """One of the groups. Raises UserError where the network has none of that name."""
        groups = self.groups()
        if name not in groups:
            names = [*groups, *(["directions"] if "modulation" in groups else [])]
            raise UserError(f"generator.trainable: this network has {', '.join(names)}; found {name!r}")
        return groups[name]
