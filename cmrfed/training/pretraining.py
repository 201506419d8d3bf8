"""Pretraining on a stream of public patients, before any private one is touched."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cmrfed.config import PretrainingConfig, TrainingConfig
from cmrfed.generators import Generator
from cmrfed.privacy import Random, SeededRandom
from cmrfed.shapes import Condition, Image, Mask
from cmrfed.slices import Slices
from cmrfed.training.local import Progress
from cmrfed.training.losses import choose_device, plain_gradient
from cmrfed.updates import Weights, read_weights


class Rows(NamedTuple):
    """Some slices as a network takes them."""

    images: Image
    masks: Mask
    conditions: Condition


@dataclass(frozen=True)
class Pretrained:
    """Averaged (EMA) weights, the loss of every step, and what the stream gave.

    waited_s, of all seconds_s: time in which the network had nothing to do because patients came too slowly.
    """

    weights: Weights
    losses: list[float]
    patients: int
    slices: int
    seconds_s: float
    waited_s: float


def pretrain(
    generator: Generator,
    patients: Iterator[Slices],
    config: PretrainingConfig,
    training: TrainingConfig,
    seed: int,
    progress: Progress | None = None,
) -> Pretrained:
    """Train on public patients, each used once, until `steps`, `minutes` or the patients run out.

    The learning rate follows a half cosine over whichever of the two limits is nearer, so that a slow machine's run
    anneals too.
    """
    device = choose_device(training.device)
    generator.to(device).train()
    random, stream = SeededRandom(seed), Mixed(patients, config.mixed_slices)
    averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    optimizer = torch.optim.Adam(generator.parameters(), lr=config.learning_rate)
    losses: list[float] = []
    started, waited = time.monotonic(), 0.0
    while (done := _fraction_done(config, len(losses), time.monotonic() - started)) < 1:
        asked = time.monotonic()
        rows = stream.draw(config.batch_size, random)
        waited += time.monotonic() - asked
        if rows is None:
            break
        optimizer.param_groups[0]["lr"] = config.learning_rate * _rate_factor(done, len(losses))
        losses.append(plain_gradient(generator, Rows(*(part.to(device) for part in rows)), training, random, device))
        optimizer.step()
        averaged.update_parameters(generator)
        if progress:
            progress(round(done * config.steps), config.steps)
    seconds = time.monotonic() - started
    return Pretrained(read_weights(averaged.module), losses, stream.patients, stream.slices, seconds, waited)


class Mixed:
    """Draws batches from the slices of many patients at once, each slice once.

    Patients come one after the other, and the slices of one are much alike; so slices wait in a pool of at least
    `least` for their turn, and a batch is drawn from the pool at random.
    """

    def __init__(self, patients: Iterator[Slices], least: int) -> None:
        self._coming, self._least = patients, least
        self._pool: list[Rows] = []
        self.patients = self.slices = 0

    def draw(self, count: int, random: Random) -> Rows | None:
        """A batch of `count` slices; None when not so many are left."""
        while len(self._pool) < max(self._least, count) and (patient := next(self._coming, None)) is not None:
            rows = Rows(*patient.batch(range(len(patient))))
            self._pool += [Rows(*(part[row : row + 1] for part in rows)) for row in range(len(patient))]
            self.patients += 1
        if len(self._pool) < count:
            return None
        drawn = [self._pool.pop(int(word % np.uint64(len(self._pool)))) for word in random.words(count)]
        self.slices += count
        return Rows(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))


def _rate_factor(done: float, steps: int) -> float:
    """A half cosine after a warm-up of a hundred steps."""
    return min((1 + math.cos(math.pi * done)) / 2, (steps + 1) / 100)


def _fraction_done(config: PretrainingConfig, steps: int, seconds: float) -> float:
    return max(steps / config.steps, seconds / (60 * config.minutes))
