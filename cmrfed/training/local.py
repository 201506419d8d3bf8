"""One site's local run: slices + weights + task -> what may leave + accountant event."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cmrfed.config import Stage, TrainingConfig
from cmrfed.core.progress import Progress
from cmrfed.generators import Generator
from cmrfed.privacy import (
    Clipping,
    DistributedNoise,
    GaussianEvent,
    LocalNoise,
    Noised,
    NoPrivacy,
    Plan,
    Random,
    SeededRandom,
)
from cmrfed.slices import Slices
from cmrfed.stacks import Stacks, samples_of
from cmrfed.training.losses import choose_device, plain_gradient
from cmrfed.training.private import noised_sum, trained_weights
from cmrfed.updates import Weights, difference, read_weights


class LocalTask(Stage):
    """What a site is asked to do in one round; `site` is a number of the site's own, which separates its seeded
    randomness from others'.

    `max_grad_norm` is where adaptive clipping stands; None is where the plan begins.
    """

    training: TrainingConfig
    plan: Plan
    round: int = Field(ge=1)
    rounds: int = Field(ge=1)
    max_grad_norm: float | None = Field(default=None, gt=0)
    seed: int = 0
    site: int = 0

    @property
    def learning_rate(self) -> float:
        """This round's rate: constant, or half a cosine from the configured rate at the first round towards zero."""
        if self.training.schedule == "constant":
            return self.training.learning_rate
        return self.training.learning_rate * (1 + math.cos(math.pi * (self.round - 1) / self.rounds)) / 2

    @property
    def clipping(self) -> Clipping:
        """The plan's clipping at this round's norm. Raises ValueError without privacy."""
        plan = self.private_plan
        return plan.clipping.at(self.max_grad_norm or plan.clipping.max_grad_norm)

    @property
    def private_plan(self) -> LocalNoise | DistributedNoise:
        """The plan, of a task that has privacy. Raises ValueError without."""
        if isinstance(self.plan, NoPrivacy):
            raise ValueError("the plan promises no privacy: nothing is clipped, noised or paid for")
        return self.plan


@dataclass(frozen=True)
class LocalRun:
    """What a local run releases: the change of the trained weights, as arrays by name, or what it is sent as
    (`cmrfed.compression`).

    `loss` (mean training loss) is None with privacy: it was not paid for. `max_grad_norm` is where adaptive clipping
    came to, None without it.
    """

    update: Weights
    event: GaussianEvent | None
    loss: float | None = None
    max_grad_norm: float | None = None


def train(
    generator: Generator,
    slices: Slices,
    task: LocalTask,
    progress: Progress | None = None,
    canaries: Sequence[Tensor] = (),
    random: Random | None = None,
) -> LocalRun:
    """Train a generator in place on one site's slices for a round and return what may leave the site.

    With privacy, everything in the update has passed `PrivacyPlan.noised`; the optimizer only post-processes it.
    `random` is where sample and noise come from (None: the plan's, fresh). An audit adds `canaries`, whose gradients
    are given.
    """
    if isinstance(task.plan, DistributedNoise):
        raise ValueError("a plan of distributed noise trains by `contribution`: alone, a site's noise is not enough")
    device = choose_device(task.training.device)
    generator.enter(task.round, task.rounds).to(device).train()
    samples = samples_of(slices, generator.config.levels)
    before = read_weights(generator, trainable_only=True)
    weights = trained_weights(generator)
    optimizer = _OPTIMIZERS[task.training.optimizer](weights, lr=task.learning_rate)
    match task.plan:
        case NoPrivacy():
            steps = _plain_steps(generator, samples, task, device)
        case LocalNoise():
            steps = _private_steps(generator, samples, task, device, canaries, random or private_random(task))
    notes: list[float] = []
    for step, note in enumerate(steps, start=1):
        optimizer.step()
        notes.append(note)
        if progress:
            progress(step, task.training.local_steps)
    update = difference(read_weights(generator, trainable_only=True), before)
    if isinstance(task.plan, NoPrivacy):
        return LocalRun(update, None, loss=float(np.mean(notes)))
    event = task.plan.event(task.training.local_steps)
    return LocalRun(update, event, max_grad_norm=notes[-1] if task.plan.clipping.adaptive else None)


_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.0),
}


@dataclass(frozen=True)
class DistributedRun:
    """A site's part of a distributed step: its clipped sum with its share of the noise, in units of the plan's grid.

    Not private by itself: it may leave the site under secure aggregation alone.
    """

    values: Noised
    event: GaussianEvent


def contribution(generator: Generator, slices: Slices, task: LocalTask, random: Random | None = None) -> DistributedRun:
    """One site's part of a distributed step; the weights stay as they are. `random` as in `train`.

    Raises ValueError unless the plan distributes its noise.
    """
    if not isinstance(task.plan, DistributedNoise):
        raise ValueError("only a plan of distributed noise asks for contributions")
    device = choose_device(task.training.device)
    generator.enter(task.round, task.rounds).to(device).train()
    drawn, samples = random or private_random(task), samples_of(slices, generator.config.levels)
    values = noised_sum(generator, samples, task.training, task.plan, task.clipping, drawn, device)
    return DistributedRun(values, task.plan.event(1))


def private_random(task: LocalTask, key: bytes | None = None) -> Random:
    """Where a private task's sample and noise come from: a secret stream under `key` or a fresh one."""
    return task.private_plan.random(task.site, task.round, key=key)


def _plain_steps(
    generator: Generator, samples: Slices | Stacks, task: LocalTask, device: torch.device
) -> Iterator[float]:
    """Fill the weights' gradients once for each local step; yields the step's loss."""
    random = SeededRandom(task.seed, task.site, task.round)
    for _ in range(task.training.local_steps):
        indices = torch.from_numpy(random.words(task.training.batch_size) % np.uint64(len(samples))).long()
        yield plain_gradient(generator.objective, samples.batch(indices, device), task.training, random, device)


def _private_steps(
    generator: Generator,
    samples: Slices | Stacks,
    task: LocalTask,
    device: torch.device,
    canaries: Sequence[Tensor],
    random: Random,
) -> Iterator[float]:
    """Fill the weights' gradients once for each local step; yields the clipping norm after it."""
    plan, clipping, weights = task.private_plan, task.clipping, trained_weights(generator)
    for _ in range(task.training.local_steps):
        noised = noised_sum(generator, samples, task.training, plan, clipping, random, device, canaries)
        gradient, clipping = plan.split(plan.mean(noised, clipping), clipping)
        _fill(weights, gradient)
        yield clipping.max_grad_norm


def _fill(weights: list[torch.nn.Parameter], flat: Tensor) -> None:
    """Hand a flat gradient to the optimizer, weight by weight."""
    for weight, part in zip(weights, flat.split([weight.numel() for weight in weights]), strict=True):
        weight.grad = part.view_as(weight).to(weight)
