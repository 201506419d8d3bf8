"""Training and applying a segmenter: the same network, steps and batches for every training set of a comparison."""

import math

import numpy as np
import torch
from jaxtyping import Float
from monai.losses import DeepSupervisionLoss, DiceCELoss
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from cmrfed.core.progress import Progress
from cmrfed.evaluation.utility.metrics.augmentation import augment
from cmrfed.evaluation.utility.metrics.backbones import BACKBONES, Backbone
from cmrfed.evaluation.utility.metrics.strong_augmentation import augment_strongly
from cmrfed.evaluation.utility.metrics.training_set import Masks, TrainingSet
from cmrfed.slices import Slices
from cmrfed.training import autocast

AUGMENTATIONS = {"light": augment, "strong": augment_strongly}
"""What is done to a batch, by the name a training set gives it; (images, masks, generator) -> (images, masks)."""


def train_segmenter(
    examples: TrainingSet,
    steps: int,
    seed: int,
    backbone: str = "unet",
    device: torch.device | str = "cpu",
    precision: str = "auto",
    progress: Progress | None = None,
) -> nn.Module:
    """Train for exactly `steps` batches of the backbone's batch size, however many slices there are.

    The loss is Dice plus cross-entropy, the optimiser AdamW under a half cosine with warm-up; slices are drawn with
    replacement and augmented. `precision` is that of `cmrfed.training.autocast`. The same seed, on the same machine,
    gives the same network, whatever else draws random numbers; the global generators are left as they were.

    Returns the network in evaluation mode, on `device`. Raises ValueError when there is no slice, or slices are of a
    size that the backbone cannot take.
    """
    recipe, device = BACKBONES[backbone], torch.device(device)
    _check(examples, recipe)
    network = _initial(recipe, seed).to(device).to(memory_format=torch.channels_last)
    loss_function = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True))
    optimizer = AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    schedule = LambdaLR(optimizer, lambda step: _learning_rate_factor(step / steps, recipe.warm_up))
    rows, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    network.train()
    for step in range(steps):
        drawn = examples.batch(rows.integers(len(examples), size=recipe.batch_size))
        images, masks = AUGMENTATIONS[examples.augmentation](*drawn, random)
        with autocast(device, precision):
            logits = network(_channels_last(images, device))
        optimizer.zero_grad()
        loss_function(_by_depth(logits), masks[:, None].to(device)).backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return network.eval()


def _check(examples: TrainingSet, recipe: Backbone) -> None:
    if len(examples) == 0:
        raise ValueError("a segmenter needs at least one labelled slice, found none")
    if any(side % recipe.multiple for part in examples.parts for side in part.images.shape[1:]):
        shape = examples.parts[0].images.shape[1:]
        raise ValueError(f"slices of {shape} do not fit this network, which halves multiples of {recipe.multiple}")


def _initial(recipe: Backbone, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return recipe.build()


def _channels_last(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).contiguous(memory_format=torch.channels_last)


def _by_depth(logits: Float[Tensor, "..."]) -> list[Tensor]:
    """The logits at every depth, the finest first."""
    depths = logits.float()
    return list(depths.unbind(dim=1)) if depths.ndim == 5 else [depths]


def _learning_rate_factor(progress: float, warm_up: float) -> float:
    """A linear warm-up under a half cosine, for progress from 0 to 1; positive from the first step."""
    return min((progress + 0.01) / warm_up, 1.0) * (1 + math.cos(math.pi * progress)) / 2


@torch.inference_mode()
def predict(network: nn.Module, slices: Slices, batch_size: int = 128) -> Masks:
    """The most likely label of every pixel of every slice, in full precision."""
    device = next(network.parameters()).device
    found = np.empty(slices.images.shape, np.uint8)
    for start in range(0, len(slices), batch_size):
        rows = np.arange(start, min(start + batch_size, len(slices)))
        logits = network(_channels_last(slices.batch(rows).images, device))
        found[rows] = logits.argmax(dim=1).cpu().numpy()
    return found
