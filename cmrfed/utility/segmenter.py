"""The one segmenter that every arm of a comparison trains: same network, same steps, same batches, nothing tuned."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from cmrfed.shapes import Image, Label, Mask
from cmrfed.utility.augmentation import augment

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Recipe:
    """What is the same for every arm. Changing any of it makes earlier utility scores incomparable."""

    channels: tuple[int, ...] = (16, 32, 64, 128)
    residual_units: int = 2
    batch_size: int = 32
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4
    warm_up: float = 0.1


RECIPE = Recipe()


def build() -> nn.Module:
    """A 2-D residual U-Net (Kerfoot et al., STACOM 2018) for images whose sides are multiples of 8.

    Instance norm treats every image by itself, so that a prediction does not depend on what shares its batch.
    """
    return UNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=len(Label),
        channels=RECIPE.channels,
        strides=(2,) * (len(RECIPE.channels) - 1),
        num_res_units=RECIPE.residual_units,
        norm="INSTANCE",
    )


def train_segmenter(
    images: Image,
    masks: Mask,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> nn.Module:
    """Train on slices in [-1, 1] for exactly `steps` batches of `RECIPE.batch_size`, however many slices there are.

    The loss is Dice plus cross-entropy, the optimiser AdamW under a half cosine with warm-up, and slices are drawn with
    replacement and augmented. The forward pass runs in bfloat16. The same seed, on the same machine, gives
    the same network, whatever else draws random numbers; the global generators are left as they were.

    Returns the network in evaluation mode, on `device`. Raises ValueError when there is no slice.
    """
    if len(images) == 0 or len(images) != len(masks):
        raise ValueError(f"a segmenter needs as many masks as images, found {len(masks)} and {len(images)}")
    device = torch.device(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build().to(device)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = AdamW(network.parameters(), lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay)
    schedule = LambdaLR(optimizer, lambda step: _learning_rate_factor(step / steps))
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for step in range(steps):
        drawn = torch.randint(len(images), (RECIPE.batch_size,), generator=generator)
        batch, target = augment(images[drawn], masks[drawn], generator)
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(batch.to(device))
        optimizer.zero_grad()
        loss_function(logits.float(), target[:, None].to(device)).backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return network.eval()


def _learning_rate_factor(progress: float) -> float:
    """A linear warm-up under a half cosine, for progress from 0 to 1; positive from the first step."""
    warm = min((progress + 0.01) / RECIPE.warm_up, 1.0)
    return warm * (1 + math.cos(math.pi * progress)) / 2


@torch.inference_mode()
def predict(network: nn.Module, images: Image, batch_size: int = 128) -> Mask:
    """The most likely label of every pixel, on the CPU, in full precision."""
    device = next(network.parameters()).device
    found = [network(batch.to(device)).argmax(dim=1).cpu() for batch in images.split(batch_size)]
    return torch.cat(found).clone()
