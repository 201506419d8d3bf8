"""How fast a family learns and draws, on this machine and one core."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import torch

from cmrfed.config import RunConfig, Stage, read_stage_json
from cmrfed.core import atomic
from cmrfed.generators import build_generator
from cmrfed.outputs import private_folder
from cmrfed.preparation import phantom_slices
from cmrfed.privacy import SeededRandom
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices
from cmrfed.stacks import samples_of
from cmrfed.training import choose_device, plain_gradient, pretrain

_HEARTS, _REPEATS = 2, 5


class Speed(Stage):
    """weights: of the whole generator. pretraining_step_s: a step of public pretraining, the mean over its stages;
    step_s: one without privacy, at a site and, where there is something public to train, at the coordinator. slice_s:
    to draw a slice. slices_per_s: those that public pretraining learns from in a second."""

    weights: int
    pretraining_step_s: float
    step_s: float
    slice_s: float
    slices_per_s: float


def speed_of(config: RunConfig, plain_batch: int, kept: Path) -> Speed:
    """Measured now, unless the file has it: a comparison that goes on keeps the budgets it began with.

    plain_batch: rows of a step without privacy.
    """
    if not kept.exists():
        private_folder(kept.parent)
        with _one_thread():
            found = _measured(config, plain_batch)
        atomic.write_text(kept, found.model_dump_json(indent=2))
    return read_stage_json(Speed, kept)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread, as a site is by default."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measured(config: RunConfig, plain_batch: int) -> Speed:
    hearts = phantom_slices(_HEARTS, config.seed, config.preprocessing)
    pretraining = _pretraining_step_s(config, hearts)
    step = _step_s(config, hearts, plain_batch)
    generator = build_generator(config.generator, config.seed).eval()
    few = hearts.take(np.arange(min(16, len(hearts))))
    slice_s = _seconds(lambda: synthesise(generator, few, config.sampling, 0, config.training.device)) / len(few)
    return Speed(
        weights=sum(weight.numel() for weight in generator.parameters()),
        pretraining_step_s=pretraining,
        step_s=step,
        slice_s=slice_s,
        slices_per_s=config.pretraining.batch_size * config.generator.levels / pretraining,
    )


def _pretraining_step_s(config: RunConfig, hearts: Slices) -> float:
    """By the difference of a longer and a shorter one, so that what is done once does not count."""

    def patients(first: int) -> Generator[Slices, None, None]:
        yield from cycle([hearts])

    def train(steps: int) -> None:
        generator = build_generator(config.generator, config.seed)
        settings = config.pretraining.model_copy(update={"steps": steps, "mixed_slices": 1})
        pretrain(generator, patients, settings, config.training, config.seed)

    stages = len({one.stage for one in build_generator(config.generator, config.seed).objectives})
    few, many = (_seconds(partial(train, count * stages), repeats=2) for count in (2, 2 + _REPEATS))
    return max(many - few, 1e-6) / (_REPEATS * stages)


def _step_s(config: RunConfig, hearts: Slices, rows: int) -> float:
    """The mean over stages of all that a stage trains."""
    generator = build_generator(config.generator, config.seed)
    device, samples = choose_device(config.training.device), samples_of(hearts, config.generator.levels)
    batch = samples.batch(np.arange(rows) % len(samples), device)
    generator.to(device).train()
    total = 0.0
    for round in range(1, generator.stages + 1):
        generator.enter(round, generator.stages)
        own = [one for one in generator.objectives if one.stage == generator.stage]
        for objective in own:
            for weight in objective.weights():
                weight.requires_grad_(True)

        def step(own: Sequence[object] = own) -> None:
            for objective in own:
                plain_gradient(objective, batch, config.training, SeededRandom(0), device)  # type: ignore[arg-type]

        total += _seconds(step)
    return total / generator.stages


def _seconds(work: Callable[[], object], repeats: int = _REPEATS) -> float:
    """The least of some repetitions, after one to warm up: whatever else the machine does only adds."""
    work()
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)
