"""How conditions enter a network: those of the whole image as one vector, those of its pixels as channels.

Every kind of condition has an encoder, so that a condition that the schema gains needs nothing here.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cmrfed.batches import Conditions, unknown_conditions
from cmrfed.conditions import TOLD, Categorical, Dense, Scalar, Vector
from cmrfed.config import GeneratorConfig
from cmrfed.generators.folding import folded
from cmrfed.members import SPACES
from cmrfed.shapes import Label

_FREQUENCIES = 8


class CategoricalEncoder(nn.Embedding):
    """Each value is the generic embedding, that of UNKNOWN, plus a difference that starts at zero: a vendor that public
    pretraining never saw looks generic until somebody's data teach the difference."""

    def __init__(self, condition: Categorical, width: int) -> None:
        super().__init__(len(condition.values), width)
        nn.init.zeros_(self.weight)

    def forward(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """UNKNOWN, the last row, has no difference from itself."""
        unknown = self.num_embeddings - 1
        return self.weight[unknown] + super().forward(index) * (index != unknown)[:, None]

    def has_learnt(self, index: int) -> bool:
        """Whether anybody's data taught a difference, without which the value is drawn as UNKNOWN."""
        return bool(self.weight[index].any())


class NumberEncoder(nn.Module):
    """A number as sines and cosines of its place in its range, through a layer that starts at zero; zero where it is
    unknown."""

    def __init__(self, low: float, high: float, width: int) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.out = nn.Linear(2 * _FREQUENCIES, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, numbers: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        places = (numbers.nan_to_num().to(self.out.weight.dtype) - self.low) / (self.high - self.low)
        angles = places[:, None] * (torch.pi * 2.0 ** torch.arange(_FREQUENCIES, device=numbers.device))
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return self.out(waves) * ~numbers.isnan()[:, None]


class PointEncoder(nn.Module):
    """A point of the unit cube through two layers, of which the last starts at zero; zero where it is unknown.

    It is smooth in each number, so that a look between two that were seen is one between them.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, points: Float[Tensor, "batch size"]) -> Float[Tensor, "batch width"]:
        known = ~points.isnan().any(dim=1, keepdim=True)
        centred = 2 * points.nan_to_num(0.5).to(self.out.weight.dtype) - 1
        return self.out(F.silu(self.hidden(centred))) * known


def has_learnt(network: nn.Module, name: str, value: str) -> bool:
    """Whether a network tells that value of a category, of which it is told, from UNKNOWN: nobody's data may ever have
    had it."""
    encoders = (module for module in network.modules() if isinstance(module, GlobalEncoder) and name in module.names)
    return any(encoder.has_learnt(name, value) for encoder in encoders)


class GlobalEncoder(nn.Module):
    """The sum of the conditions' embeddings, so that a vendor seen only at ED still means something at ES."""

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.names = tuple(name for name in names if not isinstance(TOLD[name], Dense))
        self.width = width
        for name in self.names:
            self.add_module(name, _encoder(name, width))

    def forward(self, conditions: Conditions) -> Float[Tensor, "batch width"]:
        images = next(iter(conditions.values()))
        missing = unknown_conditions([name for name in self.names if name not in conditions], len(images), ())
        told = conditions | {name: one.to(images.device) for name, one in missing.items()}
        embedded = [self.get_submodule(name)(told[name]) for name in self.names]
        if not embedded:
            return torch.zeros(len(images), self.width, device=images.device)
        return torch.stack(embedded).sum(0)

    def has_learnt(self, name: str, value: str) -> bool:
        """Whether it tells that value of a category from UNKNOWN."""
        encoder, condition = self.get_submodule(name), TOLD[name]
        assert isinstance(encoder, CategoricalEncoder) and isinstance(condition, Categorical)
        return encoder.has_learnt(condition.values.index(value))

    def embeddings(self) -> Iterator[nn.Parameter]:
        """The weights that say what values mean. Not those of the space that points lie in: a site moves in it."""
        for name in self.names:
            if not isinstance(TOLD[name], Vector):
                yield from self.get_submodule(name).parameters()


def _encoder(name: str, width: int) -> nn.Module:
    match TOLD[name]:
        case Categorical() as condition:
            return CategoricalEncoder(condition, width)
        case Scalar(low=low, high=high):
            return NumberEncoder(low, high, width)
        case Vector(size=size):
            return PointEncoder(size, width)
        case other:
            raise TypeError(f"{name}: a {type(other).__name__} condition is none of the whole image")


class DenseEncoder:
    """Channels beside the image: labels one-hot, all zeros where UNLABELLED (which differs from all background); an
    intensity and whether it is known.

    stride: pixels a side that are folded into channels, so that nothing is lost where a latent stands for as many.
    """

    def __init__(self, names: Sequence[str], tissue_classes: int, stride: int = 1) -> None:
        self.names = tuple(name for name in names if isinstance(TOLD[name], Dense))
        self.labels, self.stride = len(Label) + tissue_classes, stride

    @property
    def channels(self) -> int:
        return self.stride**2 * sum(self.labels if _is_labels(name) else 2 for name in self.names)

    def __call__(self, conditions: Conditions, grid: Sequence[int]) -> list[Float[Tensor, "batch channels *grid"]]:
        """On `grid`: where it is coarser still than the folded image's, each place has the mean of its own. What is not
        among the conditions is unknown."""
        if not self.names:
            return []
        told = self._with_missing(conditions)
        return [_on(grid, folded(self._encoded(name, told[name]), self.stride)) for name in self.names]

    def _with_missing(self, conditions: Conditions) -> Conditions:
        like = next(conditions[name] for name in ("mask", *self.names) if name in conditions)
        rows, *grid = like.shape
        missing = unknown_conditions([name for name in self.names if name not in conditions], rows, grid)
        return conditions | {name: one.to(like.device) for name, one in missing.items()}

    def _encoded(self, name: str, values: Tensor) -> Float[Tensor, "batch channels *grid"]:
        if _is_labels(name):
            labels = torch.arange(self.labels, device=values.device).reshape(-1, *[1] * (values.ndim - 1))
            return (values[:, None] == labels).float()
        known = ~values.isnan()
        return torch.stack([values.nan_to_num(), known.float()], dim=1)


def dense_encoder(names: Sequence[str], config: GeneratorConfig) -> DenseEncoder:
    """For a network of latents, in the configured space."""
    return DenseEncoder(names, config.tissue_classes, SPACES.load(config.space).stride)


def _on(grid: Sequence[int], channels: Float[Tensor, "batch channels ..."]) -> Float[Tensor, "batch channels *grid"]:
    if channels.shape[2:] == tuple(grid):
        return channels
    return F.interpolate(channels, size=list(grid), mode="area")


def _is_labels(name: str) -> bool:
    condition = TOLD[name]
    return isinstance(condition, Dense) and condition.labels
