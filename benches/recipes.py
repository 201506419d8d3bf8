"""Which recipe teaches a flow most of the phantom in the same time.

Every recipe trains from random weights for so many seconds of one core, on the same phantom slices, under a rate that
falls along half a cosine. Its averaged weights are then asked about hearts that no recipe saw: the loss of the
velocity at equally spaced times (whatever the network itself predicts), the images' fine grain beside the phantom's
(the ratio of their Laplacians' spread), and the Dice, on other phantoms, of a segmenter that learnt from its images
alone, beside that of one that learnt from the phantom's own images of the same masks.

    python -m benches.recipes seconds=300 store=FOLDER default image wide
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import laplace
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cmrfed.batches import Conditions
from cmrfed.columns import unknown_column
from cmrfed.config import GeneratorConfig, PreprocessingConfig, PretrainingConfig, SamplingConfig, TrainingConfig
from cmrfed.console import console
from cmrfed.evaluation.utility.metrics import TrainingSet, predict, stack_scores, summarise, train_segmenter
from cmrfed.generators import Denoiser
from cmrfed.generators.flow import Flow
from cmrfed.preparation import phantom_stream
from cmrfed.privacy import SeededRandom
from cmrfed.sampling import synthesise
from cmrfed.shapes import Latent, spread
from cmrfed.slices import Slices, concatenate
from cmrfed.training import plain_gradient

TRAINED_ON, ASKED, TESTED = 800, 50, 40
"""Hearts: to train on, to draw again and be asked about, and to test segmenters on."""
TIMES, ROWS = 8, 256
SEGMENTER_STEPS = 300


class OfImages(Denoiser):
    """Its network predicts the image, and learns by the velocity that follows (Li and He 2025, arXiv:2511.13720)."""

    def predict(self, x_t: Latent, t: Tensor, conditions: Conditions, guidance: float = 1.0) -> Latent:
        image = super().predict(x_t, t, conditions, guidance)
        return (image - x_t) / spread((1 - t).clamp(min=0.05), x_t)


class Uniform(Flow):
    """Times are as likely early as late."""

    def draw_times(self, count: int, random: torch.Generator) -> Tensor:
        return torch.rand(count, generator=random)


class Late(Flow):
    """Times nearer to the image, where grain is made: logit-normal about one."""

    def draw_times(self, count: int, random: torch.Generator) -> Tensor:
        return torch.sigmoid(1.0 + torch.randn(count, generator=random))


class AdamAndMuon:
    """Muon (Jordan 2024) for kernels, each flattened to a matrix of its outputs; Adam for the rest."""

    def __init__(self, weights: list[nn.Parameter], rate: float) -> None:
        self.kernels = [weight for weight in weights if weight.ndim >= 2]
        self.matrices = [nn.Parameter(weight.data.flatten(1)) for weight in self.kernels]
        self.muon = torch.optim.Muon(self.matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self.adam = torch.optim.Adam([weight for weight in weights if weight.ndim < 2], lr=rate)

    def step(self, rate: float) -> None:
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.grad = kernel.grad.flatten(1)
        for optimizer in (self.muon, self.adam):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()


class Adam:
    """Adam for all."""

    def __init__(self, weights: list[nn.Parameter], rate: float) -> None:
        self.adam = torch.optim.Adam(weights, lr=rate)

    def step(self, rate: float) -> None:
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()


@dataclass(frozen=True)
class Recipe:
    """What is different from today's."""

    network: dict[str, Any] = field(default_factory=dict)
    batch: int = 8
    rate: float = 1e-3
    ema: float = 0.995
    path: Callable[[], Flow] = Flow
    generator: type[Denoiser] = Denoiser
    optimizer: Callable[[list[nn.Parameter], float], Adam | AdamAndMuon] = Adam


RECIPES = {
    "default": Recipe(),
    "image": Recipe(generator=OfImages),
    "uniform": Recipe(path=Uniform),
    "late": Recipe(path=Late),
    "fast": Recipe(rate=3e-3),
    "slow": Recipe(rate=3e-4),
    "batch 16": Recipe(batch=16),
    "batch 4": Recipe(batch=4),
    "muon": Recipe(optimizer=AdamAndMuon),
    "wide": Recipe(network={"channels": (48, 96, 144)}),
    "deep": Recipe(network={"residual_blocks": 2}),
    "whole pixels": Recipe(network={"patch": 1, "channels": (16, 32, 64, 96)}),
    "style": Recipe(network={"conditions": (*GeneratorConfig().conditions, "style")}),
    "one more level": Recipe(network={"channels": (32, 64, 96, 128)}),
}


def main() -> None:
    """Print a line for each recipe."""
    torch.set_num_threads(1)
    seconds, store, *names = sys.argv[1:]
    chosen, folder = names or list(RECIPES), Path(store.partition("=")[2])
    learnt, asked, tested = (
        _hearts(folder, seed, count) for seed, count in enumerate((TRAINED_ON, ASKED, TESTED), start=71)
    )
    console.print(f"{len(learnt)} slices to train on; {len(asked)} asked about; {len(tested)} to test segmenters on")
    console.print(f"the phantom's own images: Dice {_dice(asked, tested):.3f}")
    for name in chosen:
        generator, steps = _trained(RECIPES[name], learnt, float(seconds.partition("=")[2]))
        millions = sum(weight.numel() for weight in generator.parameters()) / 1e6
        console.print(f"{name}: {millions:.2f} M weights, {steps} steps", soft_wrap=True)
        for told, slices in {"": _without_style(asked), ", told the style": asked}.items():
            if not told or "style" in generator.config.conditions:
                drawn = synthesise(generator, slices, SamplingConfig(), seed=5)
                console.print(
                    f"{name}{told}: loss {velocity_loss(generator, slices):.4f}, "
                    f"grain {_grain(drawn) / _grain(asked):.3f}, Dice {_dice(drawn, tested):.3f}",
                    soft_wrap=True,
                )


def _hearts(folder: Path, seed: int, count: int) -> Slices:
    """So many of a seed; drawn once, and kept in the folder."""
    path = folder / f"hearts-{seed}-{count}.safetensors"
    if not path.exists():
        draw_hearts(seed, count).save(path)
    return Slices.load(path)


def draw_hearts(seed: int, count: int) -> Slices:
    """Generic phantoms with outlines as readers draw them, in the stream's order."""
    with closing(phantom_stream(seed, PreprocessingConfig(), PretrainingConfig().label_noise_mm)) as hearts:
        return concatenate(list(islice(hearts, count)))


def _without_style(slices: Slices) -> Slices:
    return replace(slices, conditions={**slices.conditions, "style": unknown_column("style", len(slices))})


def _trained(recipe: Recipe, learnt: Slices, seconds: float) -> tuple[Denoiser, int]:
    """A generator of averaged weights, and after how many steps."""
    torch.manual_seed(0)
    config = GeneratorConfig(trainable="all", init=None, **recipe.network)
    generator = recipe.generator(config, recipe.path()).train()
    averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    (objective,) = generator.objectives
    optimizer = recipe.optimizer(list(objective.weights()), recipe.rate)
    random, training, device = SeededRandom(3), TrainingConfig(), torch.device("cpu")
    began, steps = time.process_time(), 0
    for rows in _shuffled(len(learnt), recipe.batch):
        if (share := (time.process_time() - began) / seconds) >= 1:
            break
        plain_gradient(objective, learnt.batch(rows), training, random, device)
        optimizer.step(recipe.rate * min((1 + np.cos(np.pi * share)) / 2, (steps + 1) / 100))
        averaged.update_parameters(generator)
        steps += 1
    return averaged.module.eval(), steps


def _shuffled(rows: int, batch: int) -> Iterator[np.ndarray]:
    """Batches of rows, each once before any comes again."""
    random = np.random.default_rng(4)
    while True:
        order = random.permutation(rows)
        yield from (order[start : start + batch] for start in range(0, rows - batch + 1, batch))


def velocity_loss(generator: Denoiser, slices: Slices) -> float:
    """The mean squared error of image - noise over all times alike, whatever the network itself predicts."""
    return float(np.mean(losses_by_time(generator, slices)))


@torch.no_grad()
def losses_by_time(generator: Denoiser, slices: Slices) -> list[float]:
    """The same at each of TIMES equally spaced times, with noises that are the same for all generators."""
    chosen = np.linspace(0, len(slices) - 1, min(ROWS, len(slices))).astype(int)
    batch, random, losses = slices.batch(chosen), torch.Generator().manual_seed(9), []
    for step in range(TIMES):
        noises = torch.randn(batch.images.shape, generator=random)
        t = torch.full((batch.size,), (step + 0.5) / TIMES)
        found = generator.predict_x0_eps(generator.corrupt(batch.images, noises, t), t, batch.conditions)
        errors = (found.image - found.noise) - (batch.images - noises)
        losses.append(float(errors.square().mean()))
    return losses


def _grain(slices: Slices) -> float:
    return float(np.std(laplace(np.asarray(slices.images[:]), axes=(1, 2))))


def _dice(images: Slices, tested: Slices) -> float:
    network = train_segmenter(TrainingSet((images,)), SEGMENTER_STEPS, seed=0)
    return float(summarise(stack_scores(predict(network, tested), tested))["dice"]["mean"])


if __name__ == "__main__":
    main()
