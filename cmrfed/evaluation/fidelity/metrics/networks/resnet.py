"""ResNet-50 (He et al., CVPR 2016) trained on ImageNet or on RadImageNet (Mei et al., Radiology: AI 2022).

Weights are the user's: torchvision's file for ImageNet, and for RadImageNet the PyTorch file of its public release,
whose keys are those of the layers in order (`backbone.0` is conv1, `backbone.4` layer1 and so on).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import nn
from torch.nn.functional import interpolate
from torchvision.models import resnet50

_LAYERS_IN_ORDER = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_WRAPPERS = ("module.", "model.", "backbone.")


class _ResNet50(nn.Module):
    """Grey 8-bit images of any size -> 2048 pooled features, at 224 pixels a side."""

    SIZE = 224
    MEAN: tuple[float, float, float]
    SPREAD: tuple[float, float, float]

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = torchvision_keys(torch.load(weights, weights_only=True, map_location="cpu"))
        self.network = resnet50(weights=None)
        missing, unexpected = self.network.load_state_dict(state, strict=False)
        if lost := [name for name in (*missing, *unexpected) if not name.startswith("fc.")]:
            raise RuntimeError(f"{lost[0]} does not fit a ResNet-50")
        self.classifier: nn.Module | None = None if "fc.weight" in missing else self.network.fc
        self.network.fc = nn.Identity()
        self.network.eval().requires_grad_(False)

    def forward(self, pixels: UInt8[torch.Tensor, "batch 1 row column"]) -> Float[torch.Tensor, "batch 2048"]:
        """Features after global average pooling, before the classifier."""
        size = (self.SIZE, self.SIZE)
        unit = interpolate(pixels.float(), size=size, mode="bilinear", antialias=True).expand(-1, 3, -1, -1) / 255
        mean, spread = (unit.new_tensor(values)[:, None, None] for values in (self.MEAN, self.SPREAD))
        return self.network((unit - mean) / spread)


class ImageNetResNet50(_ResNet50):
    """With torchvision's scaling of pixels."""

    MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RadImageNetResNet50(_ResNet50):
    """With RadImageNet's scaling of pixels, to [-1, 1]."""

    MEAN, SPREAD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def torchvision_keys(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """A ResNet's state under torchvision's names, whatever wrapped it when it was saved.

    Layers that were numbered in an nn.Sequential get their names back.
    """
    state = state.get("state_dict", state)
    return {_torchvision_key(name): tensor for name, tensor in state.items()}


def _torchvision_key(name: str) -> str:
    while (wrapper := next((one for one in _WRAPPERS if name.startswith(one)), None)) is not None:
        name = name.removeprefix(wrapper)
    first, _, rest = name.partition(".")
    return f"{_LAYERS_IN_ORDER[first]}.{rest}" if first in _LAYERS_IN_ORDER else name
