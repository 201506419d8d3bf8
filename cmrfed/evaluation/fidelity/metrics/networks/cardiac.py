"""A feature network that knows hearts: the encoder of a small U-Net, taught on the phantom alone.

Networks of photographs weigh what they were taught to tell apart. This one was taught to outline the ventricles and
the myocardium, and to name the scanner's vendor, the phase and the pathology; what it keeps of an image is therefore
anatomy and contrast. It has seen no patient. The first use trains it, in a few minutes; its weights stay in the cache.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from cmrfed import __version__
from cmrfed.cache import cache_folder
from cmrfed.conditions import PHASES, UNKNOWN, VENDORS
from cmrfed.config import PreprocessingConfig
from cmrfed.core import atomic
from cmrfed.core.progress import Progress
from cmrfed.parallel import map_in_order
from cmrfed.phantom import phantom_patient
from cmrfed.phantom.heart import PATHOLOGIES
from cmrfed.phantom.layout import VERSION as PHANTOM_VERSION
from cmrfed.preprocessing import prepare
from cmrfed.shapes import Image, Label
from cmrfed.slices import Slices, collect
from cmrfed.training import autocast
from cmrfed.volumes import Case

VERSION = 1
"""Raised whenever the same recipe would give other weights."""


@dataclass(frozen=True)
class Recipe:
    """What decides the weights. Changing any of it makes earlier scores of this space incomparable."""

    hearts: int = 100
    steps: int = 350
    batch_size: int = 32
    learning_rate: float = 2e-3
    channels: tuple[int, ...] = (16, 32, 64, 128, 128, 16)
    seed: int = 0


RECIPE = Recipe()
_PREPROCESSING = PreprocessingConfig()
_CLASSES = {"vendor": len(VENDORS), "phase": len(PHASES), "pathology": len(PATHOLOGIES)}


class CardiacEncoder(nn.Module):
    """Grey 8-bit images -> 128 features, the mean of the bottleneck; images are resized to the common grid's 64 pixels.

    weights: a file that `encoder_weights` made; None leaves them random, for training.
    """

    def __init__(self, weights: Path | None = None, channels: tuple[int, ...] = RECIPE.channels) -> None:
        super().__init__()
        self.network = BasicUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=len(Label),
            features=channels,
            norm=("instance", {"affine": True}),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(channels[4], count) for name, count in _CLASSES.items()})
        if weights is not None:
            self.load_state_dict(load_file(weights))

    def forward(self, pixels: UInt8[torch.Tensor, "batch 1 row column"]) -> Float[torch.Tensor, "batch feature"]:
        """The pooled bottleneck."""
        size = (_PREPROCESSING.size, _PREPROCESSING.size)
        grey = interpolate(pixels.float(), size=size, mode="bilinear", antialias=True)
        return self.levels(grey / 127.5 - 1)[-1].mean(dim=(2, 3))

    def levels(self, images: Image) -> list[Float[torch.Tensor, "batch channel r c"]]:
        """Maps of the encoder at the full side and at 1/2, 1/4, 1/8 and 1/16 of it, the bottleneck last."""
        net, maps = self.network, [self.network.conv_0(images)]
        for down in (net.down_1, net.down_2, net.down_3, net.down_4):
            maps.append(down(maps[-1]))
        return maps

    def loss(self, images: Image, truth: "Truth") -> Float[torch.Tensor, ""]:
        """Dice and cross-entropy of the outlines, and cross-entropies of what the pooled bottleneck tells."""
        *skips, maps = self.levels(images)
        told = {name: head(maps.mean(dim=(2, 3))) for name, head in self.heads.items()}
        net = self.network
        for up, skip in zip((net.upcat_4, net.upcat_3, net.upcat_2, net.upcat_1), reversed(skips), strict=True):
            maps = up(maps, skip)
        outlined = DiceCELoss(to_onehot_y=True, softmax=True)(net.final_conv(maps).float(), truth.masks[:, None])
        return outlined + sum(cross_entropy(told[name].float(), truth.classes[name]) for name in told) / len(told)


@dataclass(frozen=True)
class Truth:
    """What the phantom knows of a batch of images."""

    masks: Int[torch.Tensor, "batch row column"]
    classes: dict[str, Int[torch.Tensor, " batch"]]


def encoder_weights(
    progress: Progress | None = None, recipe: Recipe = RECIPE, device: torch.device | str = "cpu"
) -> Path:
    """The trained encoder's file, from the cache or trained now. progress counts hearts rendered and steps taken."""
    path = cache_folder() / "encoders" / f"{_key(recipe)}.safetensors"
    if not path.is_file():
        found = train_encoder(recipe, torch.device(device), progress)
        with atomic.replacing(path) as draft:
            save_file({name: tensor.cpu().contiguous() for name, tensor in found.state_dict().items()}, draft)
    return path


def train_encoder(recipe: Recipe, device: torch.device, progress: Progress | None = None) -> CardiacEncoder:
    """Render the hearts and learn from their slices. The recipe's seed decides all; global generators stay as is."""
    total = recipe.hearts + recipe.steps
    slices = _rendered(recipe, total, progress)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        encoder = CardiacEncoder(channels=recipe.channels).to(device).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    for step, (images, truth) in enumerate(_batches(slices, recipe, device), start=1):
        with autocast(device, "auto"):
            loss = encoder.loss(images, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(recipe.hearts + step, total)
    return encoder.eval()


def _rendered(recipe: Recipe, total: int, progress: Progress | None) -> Slices:
    """Slices of hearts in every vendor's style by turns, and in randomised ones."""
    cases: list[Case] = []
    hearts = map_in_order(partial(_prepared_heart, seed=recipe.seed), range(recipe.hearts))
    for done, heart in enumerate(hearts, start=1):
        cases += heart
        if progress is not None:
            progress(done, total)
    return collect(cases)


def _prepared_heart(index: int, seed: int) -> list[Case]:
    vendor = VENDORS[index % len(VENDORS)]
    return [
        prepare(case, _PREPROCESSING) for case in phantom_patient(index, seed, None if vendor == UNKNOWN else vendor)
    ]


def _batches(slices: Slices, recipe: Recipe, device: torch.device) -> Iterator[tuple[Image, Truth]]:
    random = torch.Generator().manual_seed(recipe.seed)
    pathologies = torch.tensor([PATHOLOGIES.index(record.pathology) for record in slices.records])
    patients = torch.from_numpy(slices.patients)
    for _ in range(recipe.steps):
        rows = torch.randint(len(slices), (recipe.batch_size,), generator=random)
        batch = slices.batch(rows, device)
        classes = {name: batch.conditions[name] for name in ("vendor", "phase")}
        classes["pathology"] = pathologies[patients[rows]].to(device)
        yield batch.images, Truth(batch.masks, classes)


def _key(recipe: Recipe) -> str:
    """Everything that decides the weights."""
    parts = [__version__, VERSION, PHANTOM_VERSION, _PREPROCESSING.model_dump(), asdict(recipe)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
