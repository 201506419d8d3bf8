"""Pretraining on public slices, before any patient is touched."""

import math
import time

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cmrfed.config import PretrainingConfig, TrainingConfig
from cmrfed.generators import Generator
from cmrfed.privacy import SeededRandom
from cmrfed.slices import Slices
from cmrfed.training.local import Progress
from cmrfed.training.losses import choose_device, plain_gradient
from cmrfed.updates import Weights, read_weights


def pretrain(
    generator: Generator,
    slices: Slices,
    config: PretrainingConfig,
    training: TrainingConfig,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Weights, list[float]]:
    """Train on public slices until `steps` or `minutes` run out; returns averaged (EMA) weights and the loss curve.

    The learning rate follows a half cosine over whichever of the two limits is nearer, so that a slow machine's run
    anneals too.
    """
    device = choose_device(training.device)
    generator.to(device).train()
    random = SeededRandom(seed)
    averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    optimizer = torch.optim.Adam(generator.parameters(), lr=config.learning_rate)
    losses: list[float] = []
    started = time.monotonic()
    while (done := _fraction_done(config, len(losses), time.monotonic() - started)) < 1:
        optimizer.param_groups[0]["lr"] = config.learning_rate * min(
            (1 + math.cos(math.pi * done)) / 2, (len(losses) + 1) / 100
        )
        indices = torch.from_numpy(random.words(config.batch_size) % np.uint64(len(slices))).long()
        losses.append(plain_gradient(generator, slices, indices, training, random, device))
        optimizer.step()
        averaged.update_parameters(generator)
        if progress:
            progress(round(done * config.steps), config.steps)
    return read_weights(averaged.module), losses


def _fraction_done(config: PretrainingConfig, steps: int, seconds: float) -> float:
    return max(steps / config.steps, seconds / (60 * config.minutes))
