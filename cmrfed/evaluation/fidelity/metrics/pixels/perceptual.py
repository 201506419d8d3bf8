"""A distance of two images in the layers of a network, as LPIPS (Zhang et al., CVPR 2018) has it, but not its weights.

d(x, y) is the mean over stages l of the mean over places p of |u_l(x, p) - u_l(y, p)|^2, u_l(x, p) being the channels
at a place scaled to length 1. LPIPS weighs channels by what people judged of photographs; such weights are not at hand
for the network here, EfficientNet-Lite0, and all channels count alike. Values are not LPIPS's.
"""

import torch
from jaxtyping import Float
from torch.nn.functional import normalize

from cmrfed.evaluation.fidelity.metrics.networks import EfficientNetLite0
from cmrfed.shapes import Image

SIZE = 128
"""Pixels a side at which the network sees the images: its first stages then resolve the pixels of the common grid."""
_AT_ONCE = 32


@torch.inference_mode()
def perceptual_distance(
    first: Image, second: Image, network: EfficientNetLite0 | None = None
) -> Float[torch.Tensor, " batch"]:
    """From 0, for equal images, to 4; on the device of the images. network: the shipped one, once it is loaded."""
    network = (network or EfficientNetLite0().eval()).to(first.device)
    pairs = zip(_pixels(first).split(_AT_ONCE), _pixels(second).split(_AT_ONCE), strict=True)
    return torch.cat([_distances(network, one, other) for one, other in pairs]).clone()


def _distances(network: EfficientNetLite0, first: torch.Tensor, second: torch.Tensor) -> Float[torch.Tensor, " batch"]:
    stages = zip(network.stages(first, SIZE), network.stages(second, SIZE), strict=True)
    apart = [(normalize(a, dim=1) - normalize(b, dim=1)).square().sum(1).mean((1, 2)) for a, b in stages]
    return torch.stack(apart).mean(0)


def _pixels(images: Image) -> torch.Tensor:
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
