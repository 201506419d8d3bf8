"""Images -> features, in one of several feature spaces, with a cache. No network's weights are ever downloaded.

A new space is one module from 8-bit grey images to one row of features an image, an `Extractor` here,
and one line in `cmrfed.members.FEATURE_SPACES`.
"""

import hashlib
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from cmrfed import __version__
from cmrfed.config import UserError
from cmrfed.core import atomic
from cmrfed.core.progress import Progress
from cmrfed.evaluation.fidelity.metrics.networks import (
    EfficientNetLite0,
    ImageNetResNet50,
    InceptionV3,
    RadImageNetResNet50,
)
from cmrfed.evaluation.fidelity.metrics.networks.cardiac import CardiacEncoder, encoder_weights
from cmrfed.evaluation.fidelity.metrics.networks.efficientnet import SHIPPED_WEIGHTS
from cmrfed.evaluation.fidelity.metrics.radiomics import Radiomics
from cmrfed.members import FEATURE_SPACES, Loaded
from cmrfed.shapes import Image

Features = Float[torch.Tensor, "image feature"]
Logits = Float[torch.Tensor, "image kind"]
Pixels = UInt8[torch.Tensor, "image 1 row column"]


@dataclass(frozen=True)
class Extractor:
    """A feature space: how its module is built from a file of weights, and where that file is if the user gives none.

    weights: returns the path; None where only the user can. A space without weights has `learnt` False. standardise:
    whether distances are taken in standard deviations of real images' features, which have no common scale.
    """

    build: Callable[[Path], nn.Module] | Callable[[], nn.Module]
    weights: Callable[[], Path] | None = None
    learnt: bool = True
    standardise: bool = False


EFFICIENTNET_LITE0 = Extractor(EfficientNetLite0, lambda: SHIPPED_WEIGHTS)
INCEPTION_V3 = Extractor(InceptionV3)
RESNET50 = Extractor(ImageNetResNet50)
RADIMAGENET_RESNET50 = Extractor(RadImageNetResNet50)
CARDIAC = Extractor(CardiacEncoder, encoder_weights, standardise=True)
RADIOMICS = Extractor(Radiomics, learnt=False, standardise=True)

EXTRACTORS: Mapping[str, Extractor] = Loaded(FEATURE_SPACES)
"""Every feature space by the name a config uses."""


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
        found = _run(_load(extractor, path, torch.device(device)), pixels, batch_size, torch.device(device), progress)
        if stored is not None:
            _write(stored, found)
    elif progress is not None:
        progress(len(pixels), len(pixels))
    return found


def logits_of(extractor: str, weights: str | None = None) -> Callable[[Features], Logits] | None:
    """What turns a space's features into the scores of the kinds its network was trained to tell; None without any.

    Raises UserError as `extract_features` does.
    """
    classifier = getattr(_load(extractor, _weights_path(extractor, weights), torch.device("cpu")), "classifier", None)
    return partial(_classified, classifier) if classifier is not None else None


@torch.inference_mode()
def _classified(classifier: nn.Module, features: Features) -> Logits:
    return classifier(features.float())


@torch.inference_mode()
def _run(
    network: nn.Module, pixels: Pixels, batch_size: int, device: torch.device, progress: Progress | None
) -> Features:
    features, done = [], 0
    for batch in pixels.split(batch_size):
        features.append(network(batch.to(device)).float().cpu())
        done += len(batch)
        if progress is not None:
            progress(done, len(pixels))
    return torch.cat(features).clone()


def refuse_unusable_spaces(spaces: Iterable[str], weights: Mapping[str, str]) -> None:
    """Raise UserError, before hours are spent, for a name that is no space, and for weights that are not there."""
    for name in (*spaces, *weights):
        _chosen_path(_extractor(name), name, weights.get(name))


def _extractor(name: str) -> Extractor:
    if name not in EXTRACTORS:
        raise UserError(f"evaluation.fidelity.spaces: no {name!r}; choose one of {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name]


def _chosen_path(extractor: Extractor, name: str, weights: str | None) -> Path | None:
    """The file that the user names, which is there; None where the space has its own or needs none."""
    if weights is None and extractor.learnt and extractor.weights is None:
        raise UserError(
            f"{name} comes without weights and none are downloaded: name a file of them in "
            f"evaluation.fidelity.weights, as {{{name}: FILE}}"
        )
    if weights is None or not extractor.learnt:
        return None
    return _present(Path(weights).expanduser(), name)


def _present(path: Path, name: str) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file of {name} weights; reinstall the package or give another path")
    return path


def _weights_path(name: str, weights: str | None) -> Path | None:
    """The file of weights, which is there; None for a space that has none."""
    extractor = _extractor(name)
    path = _chosen_path(extractor, name, weights)
    return _present(extractor.weights(), name) if path is None and extractor.weights is not None else path


@lru_cache(maxsize=2)  # set after set is asked for, and the scores of the same network
def _load(extractor: str, path: Path | None, device: torch.device) -> nn.Module:
    build = EXTRACTORS[extractor].build
    if path is None:
        return build().eval().to(device)  # type: ignore[call-arg]
    try:
        return build(path).eval().to(device)  # type: ignore[call-arg]
    except (pickle.UnpicklingError, RuntimeError, EOFError, SafetensorError, AttributeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not the weights of {extractor} ({reason})") from None


def _key(pixels: Pixels, extractor: str, weights: Path | None) -> str:
    """What the features depend on; the version stands for the code of this folder."""
    learnt = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else ""
    parts = (__version__, extractor, learnt, str(tuple(pixels.shape)))
    return hashlib.sha256("|".join(parts).encode() + pixels.numpy().tobytes()).hexdigest()


def _read(path: Path, images: int) -> Features | None:
    try:
        features = load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):
        return None
    return features if features.ndim == 2 and len(features) == images else None


def _write(path: Path, features: Features) -> None:
    with atomic.replacing(path) as draft:
        save_file({"features": features}, draft)
