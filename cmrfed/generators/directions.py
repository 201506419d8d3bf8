"""A network moved in few directions: what is trained is how far it goes in each.

    w = w_0 + D c

w are the weights of a group, w_0 where they stand, c the `coordinates` that are trained, and the columns of D the
directions, which are public: whoever makes them sees no patient. A private step then noises as many numbers as there
are directions. `cmrfed.training.directions` makes directions of which few go a long way.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

NAME = "directions.directions"
"""Of the directions among a generator's weights."""


class Directions(nn.Module):
    """coordinates, all at zero, and the directions of some weights, drawn at random until others are written over them.

    names: of the weights that are moved, as their network has them, in the order given, in which they are flattened.
    """

    def __init__(self, network: nn.Module, weights: Sequence[nn.Parameter], count: int) -> None:
        super().__init__()
        names = {id(weight): name for name, weight in network.named_parameters()}
        self.names = tuple(names[id(weight)] for weight in weights)
        self.sizes = [weight.numel() for weight in weights]
        entries = sum(self.sizes)
        self.coordinates = nn.Parameter(torch.zeros(count))
        self.directions = nn.Parameter(torch.randn(entries, count) / math.sqrt(entries), requires_grad=False)

    def moved(self, network: nn.Module) -> dict[str, Float[Tensor, "..."]]:
        """The weights where the coordinates put them, by name; the network's own stay."""
        own = dict(network.named_parameters())
        # no matrix product, which would be one in bf16 where the network computes in it: steps are small beside weights
        steps = (self.directions * self.coordinates).sum(dim=1).split(self.sizes)
        return {name: own[name] + step.view_as(own[name]) for name, step in zip(self.names, steps, strict=True)}

    @torch.no_grad()
    def fold(self, network: nn.Module) -> None:
        """Make where the coordinates lead the network's own weights, and begin at zero again."""
        own = dict(network.named_parameters())
        for name, weight in self.moved(network).items():
            own[name].copy_(weight)
        self.coordinates.zero_()
