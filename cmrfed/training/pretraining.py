"""Pretraining on a stream of public patients, before any private one is touched.

It is over when all its steps are done: time decides nothing, and a part of it is never taken for the whole. All that
the next step depends on is kept in a checkpoint, from which training goes on to the same weights, to the bit, as if it
had never been interrupted.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Stream
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cmrfed.batches import Batch, joined
from cmrfed.config import PretrainingConfig, TrainingConfig, UserError
from cmrfed.core.progress import Progress
from cmrfed.generators import Generator, Objective
from cmrfed.privacy import Random, SeededRandom
from cmrfed.slices import Slices
from cmrfed.stacks import samples_of
from cmrfed.training.losses import choose_device, plain_gradient
from cmrfed.updates import Weights, load_arrays, read_weights, save_weights

VERSION = 2
"""Raised whenever the same patients and configuration would give other weights."""
CHECKPOINT_EVERY_S = 30.0

Patients = Callable[[int], Stream[Slices, None, None]]
"""Public patients in an order of their own, from the one of that number on; the same ones whenever they are asked."""


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
    patients: Patients,
    config: PretrainingConfig,
    training: TrainingConfig,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    objectives: Sequence[Objective] | None = None,
) -> Pretrained:
    """Train for all of `steps`, at a rate that follows half a cosine, on public patients who each come once.

    `objectives` are the generator's own, those of patients' data too, where no others are given.
    The state is written to `checkpoint` twice a minute; where that file is there already, training goes on from it.
    Raises ValueError when the patients run out before the steps do.
    """
    run = _Run(generator, config, training, seed, objectives or generator.objectives)
    if checkpoint and checkpoint.exists():
        run.load(checkpoint)
    saved = time.monotonic()
    report = progress or (lambda done, total: None)
    report(run.steps, config.steps)
    with closing(patients(run.pool.patients)) as coming:
        while run.steps < config.steps:
            run.step(coming)
            report(run.steps, config.steps)
            if checkpoint and time.monotonic() - saved >= CHECKPOINT_EVERY_S:
                run.save(checkpoint)
                saved = time.monotonic()
    return run.result()


def steps_kept(checkpoint: Path) -> int:
    """How many steps a checkpoint has; 0 where there is none that can be read."""
    try:
        return int(load_arrays(checkpoint)[1]["steps"])  # type: ignore[call-overload]
    except UserError:
        return 0


class Mixed:
    """Draws batches from the slices of many patients at once, each slice `uses` times.

    Patients come one after the other, and the slices of one are much alike; so slices wait in a pool of at least
    `least` for their turn, and a batch is drawn from the pool at random.
    """

    def __init__(self, least: int, levels: int, uses: int = 1) -> None:
        self._least, self._levels, self._uses = least, levels, uses
        self.waiting: list[Batch] = []
        self.patients = self.slices = 0

    def draw(self, count: int, coming: Iterator[Slices], random: Random) -> Batch:
        """A batch of `count` slices. Raises ValueError when not so many are left."""
        while len(self.waiting) < max(self._least, count) and (patient := next(coming, None)) is not None:
            samples = samples_of(patient, self._levels)
            self.waiting += self._uses * _single(samples.batch(range(len(samples))))
            self.patients += 1
        if len(self.waiting) < count:
            raise ValueError(f"a step needs {count} slices, and after {self.patients} patients no more came")
        drawn = [self.waiting.pop(int(word % np.uint64(len(self.waiting)))) for word in random.words(count)]
        self.slices += count
        return joined(drawn)


def _single(batch: Batch) -> list[Batch]:
    """Batches of one slice each."""
    return [batch.rows(row, row + 1) for row in range(batch.size)]


class _Run:
    """A pretraining between two of its steps."""

    def __init__(
        self,
        generator: Generator,
        config: PretrainingConfig,
        training: TrainingConfig,
        seed: int,
        objectives: Sequence[Objective],
    ) -> None:
        self.config, self.training, self.device = config, training, choose_device(training.device)
        self.objectives = objectives
        self.generator = generator.to(self.device).train()
        for weight in chain.from_iterable(one.weights() for one in objectives):
            weight.requires_grad_(True)  # also those that come before the first round, and those of later stages
        self.averaged = deepcopy(generator).requires_grad_(False)
        self.optimizers = [
            torch.optim.Adam(one.weights(), lr=config.learning_rate, betas=one.betas) for one in objectives
        ]
        self.stages = sorted({one.stage for one in objectives}, key=lambda stage: -1 if stage is None else stage)
        self.random, self.pool = SeededRandom(seed), Mixed(config.mixed_slices, generator.config.levels, config.uses)
        self.losses: list[float] = []
        self.seconds_s = self.waited_s = 0.0

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.losses)

    def step(self, coming: Iterator[Slices]) -> None:
        """Draw a batch and take a step."""
        began = time.monotonic()
        rows = self.pool.draw(self.config.batch_size, coming, self.random)
        self.waited_s += time.monotonic() - began
        loss = self._train(rows.to(self.device))
        self._average()
        self.losses.append(loss)
        self.seconds_s += time.monotonic() - began

    def _train(self, batch: Batch) -> float:
        """A step of every objective of the present stage, each by its own weights; the mean of their losses."""
        stage, done, steps = self._stage()
        rate, losses = self.config.learning_rate * _rate_factor(done, steps), []
        for objective, optimizer in zip(self.objectives, self.optimizers, strict=True):
            if objective.stage == stage:
                optimizer.param_groups[0]["lr"] = rate * objective.pace
                losses.append(plain_gradient(objective, batch, self.training, self.random, self.device))
                optimizer.step()
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _average(self) -> None:
        """Weights that the present stage trains. Their average follows them closely at first, or it would be of what
        they were before any training for as many steps as it looks back."""
        stage, done, _ = self._stage()
        decay = min(self.config.ema_decay, (1 + done) / (10 + done))
        trained = {id(weight) for one in self.objectives if one.stage == stage for weight in one.weights()}
        for average, weight in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
            if id(weight) in trained:
                average.lerp_(weight, 1 - decay)
        for kept, buffer in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(buffer)

    def _stage(self) -> tuple[int | None, int, int]:
        """The present stage, how many steps of it are done, and how many it has. Steps are divided over the stages in
        order, as rounds are; each stage has a schedule of its own."""
        number = self.steps * len(self.stages) // self.config.steps
        first, end = (-(-one * self.config.steps // len(self.stages)) for one in (number, number + 1))
        return self.stages[number], self.steps - first, end - first

    def result(self) -> Pretrained:
        """What came out."""
        weights, pool = read_weights(self.averaged), self.pool
        return Pretrained(weights, self.losses, pool.patients, pool.slices, self.seconds_s, self.waited_s)

    def save(self, path: Path) -> None:
        """Write all that the next step depends on; the file holds this state or the one before, whole."""
        tensors = self._networks()
        for number, optimizer in enumerate(self.optimizers):
            tensors |= _numbered(f"optimizer {number}", optimizer.state_dict()["state"])
        tensors |= _numbered("waiting", {row: _named(batch) for row, batch in enumerate(self.pool.waiting)})
        notes = {"steps": self.steps, "losses": self.losses, "random": self.random.state}
        notes |= {"patients": self.pool.patients, "slices": self.pool.slices}
        notes |= {"seconds_s": self.seconds_s, "waited_s": self.waited_s}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, {name: tensor.cpu().numpy() for name, tensor in tensors.items()}, notes)

    def load(self, path: Path) -> None:
        """Go on from what was saved. A file that cannot be read has nothing to go on from: the start stays."""
        try:
            arrays, notes = load_arrays(path)
        except UserError:
            return
        if self._networks().keys() - arrays.keys():  # of an earlier version
            return
        for name, tensor in self._networks().items():
            tensor.copy_(torch.from_numpy(arrays[name]))
        for number, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(optimizer.state_dict() | {"state": _by_number(f"optimizer {number}", arrays)})
        self._load_notes(notes)
        self.pool.waiting = [_unnamed(tensors) for tensors in _by_number("waiting", arrays).values()]

    def _networks(self) -> dict[str, Tensor]:
        """The tensors of the network and of its average, by name: those themselves, not copies."""
        networks = {"generator": self.generator, "averaged": self.averaged}
        return {f"{part}/{name}": one for part, own in networks.items() for name, one in own.state_dict().items()}

    def _load_notes(self, notes: dict[str, Any]) -> None:
        self.losses, self.random.state = list(notes["losses"]), notes["random"]
        self.pool.patients, self.pool.slices = notes["patients"], notes["slices"]
        self.seconds_s, self.waited_s = notes["seconds_s"], notes["waited_s"]


def _named(batch: Batch) -> dict[str, Tensor]:
    """The tensors of a batch that is waiting, before anything was drawn."""
    return {"images": batch.images, **batch.conditions}


def _unnamed(tensors: dict[str, Tensor]) -> Batch:
    return Batch(tensors["images"], {name: one for name, one in tensors.items() if name != "images"}, {})


def _numbered(part: str, groups: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by number and name, as a flat file holds them."""
    return {f"{part}/{number}/{name}": one for number, group in groups.items() for name, one in group.items()}


def _by_number(part: str, arrays: Weights) -> dict[int, dict[str, Tensor]]:
    """What `_numbered` made flat, by ascending numbers."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith(f"{part}/"):
            _, number, key = name.split("/")
            found.setdefault(int(number), {})[key] = torch.from_numpy(array)
    return dict(sorted(found.items()))


def _rate_factor(done: int, steps: int) -> float:
    """Half a cosine after a warm-up of a hundred steps."""
    return min((1 + math.cos(math.pi * done / steps)) / 2, (done + 1) / 100)
