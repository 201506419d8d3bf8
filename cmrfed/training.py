"""One site's local run: slices + weights + task -> update + accountant event; and pretraining on public slices."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cmrfed.config import PretrainingConfig, Stage, TrainingConfig
from cmrfed.generators import Generator
from cmrfed.privacy import GaussianEvent, PrivacyPlan, Random, SeededRandom, clipped_gradient_sum
from cmrfed.slices import Slices
from cmrfed.updates import Weights, difference, read_weights

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class LocalTask(Stage):
    """What a site is asked to do in one round. `plan` None trains without privacy; `site` is the site's number."""

    training: TrainingConfig
    plan: PrivacyPlan | None
    round: int = Field(ge=1)
    rounds: int = Field(ge=1)
    seed: int = 0
    site: int = 0

    @property
    def learning_rate(self) -> float:
        """This round's rate: constant, or half a cosine from the configured rate at the first round towards zero."""
        if self.training.schedule == "constant":
            return self.training.learning_rate
        return self.training.learning_rate * (1 + math.cos(math.pi * (self.round - 1) / self.rounds)) / 2


@dataclass(frozen=True)
class LocalRun:
    """What a local run releases. `loss` (mean training loss) is None with privacy: it was not paid for."""

    update: Weights
    event: GaussianEvent | None
    loss: float | None


def train(generator: Generator, slices: Slices, task: LocalTask, progress: Progress | None = None) -> LocalRun:
    """Train a generator in place on one site's slices for a round and return what may leave the site.

    With a plan, everything in the update has passed `PrivacyPlan.release`; the optimizer only post-processes it.
    """
    device = choose_device(task.training.device)
    generator.to(device).train()
    before = read_weights(generator, trainable_only=True)
    weights = [weight for weight in generator.parameters() if weight.requires_grad]
    optimizer = _OPTIMIZERS[task.training.optimizer](weights, lr=task.learning_rate)
    losses = []
    for step, loss in enumerate(_steps(generator, weights, slices, task, device), start=1):
        optimizer.step()
        losses.append(loss)
        if progress:
            progress(step, task.training.local_steps)
    update = difference(read_weights(generator, trainable_only=True), before)
    if task.plan:
        return LocalRun(update, task.plan.event(task.training.local_steps), None)
    return LocalRun(update, None, float(np.mean(losses)))


_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.0),
}


def _steps(
    generator: Generator, weights: list[torch.nn.Parameter], slices: Slices, task: LocalTask, device: torch.device
) -> Iterator[float]:
    """Fill the weights' gradients once for each local step; yields the step's loss (NaN with privacy)."""
    if task.plan:
        random = task.plan.random(task.site, task.round)
        for _ in range(task.training.local_steps):
            _fill(weights, private_gradient(generator, weights, slices, task.training, task.plan, random, device))
            yield math.nan
    else:
        random = SeededRandom(task.seed, task.site, task.round)
        for _ in range(task.training.local_steps):
            indices = torch.from_numpy(random.words(task.training.batch_size) % np.uint64(len(slices))).long()
            yield plain_gradient(generator, slices, indices, task.training, random, device)


def private_gradient(
    generator: Generator,
    weights: list[torch.nn.Parameter],
    slices: Slices,
    training: TrainingConfig,
    plan: PrivacyPlan,
    random: Random,
    device: torch.device,
) -> Tensor:
    """One private step's released gradient, flat: sample patients, clip each one's gradient, sum, noise, scale.

    All randomness comes from `random`. Were the slices, times and noises of a patient drawn from a public seed, one
    patient more or less would shift every later patient's draws, and the sum by more than C.
    """
    sampled = plan.sample_patients(slices.number_of_patients, random)
    losses = (partial(patient_loss, generator, slices, int(p), training, random, device) for p in sampled)
    return plan.release(clipped_gradient_sum(weights, losses, plan), random)


def patient_loss(
    generator: Generator, slices: Slices, patient: int, training: TrainingConfig, random: Random, device: torch.device
) -> Tensor:
    """The mean loss over `slices_per_patient` slices of a patient, each with `draws_per_slice` times and noises.

    Slices are drawn without replacement; a patient with fewer gives all, and then some again.
    """
    own = torch.as_tensor(slices.of_patient(patient))
    stream = _torch_generator(random)
    rounds_of_own = math.ceil(training.slices_per_patient / len(own))
    order = torch.cat([torch.randperm(len(own), generator=stream) for _ in range(rounds_of_own)])
    chosen = own[order[: training.slices_per_patient]].repeat(training.draws_per_slice)
    return _mean_loss(generator, slices, chosen, training, stream, device)


def plain_gradient(
    generator: Generator,
    slices: Slices,
    indices: Tensor,
    training: TrainingConfig,
    random: Random,
    device: torch.device,
) -> float:
    """One step without privacy: fill the gradients of the mean loss over a batch of slices; returns that loss."""
    loss = _mean_loss(generator, slices, indices, training, _torch_generator(random), device)
    generator.zero_grad(set_to_none=True)
    loss.backward()
    return float(loss.detach())


def _mean_loss(
    generator: Generator,
    slices: Slices,
    indices: Tensor,
    training: TrainingConfig,
    stream: torch.Generator,
    device: torch.device,
) -> Tensor:
    images, masks, conditions = slices.batch(indices, device)
    with autocast(device, training.precision):
        return generator.losses(images, masks, conditions, generator.draw(images, stream)).mean()


def _fill(weights: list[torch.nn.Parameter], flat: Tensor) -> None:
    """Hand a flat gradient to the optimizer, weight by weight."""
    for weight, part in zip(weights, flat.split([weight.numel() for weight in weights]), strict=True):
        weight.grad = part.view_as(weight).to(weight)


def _torch_generator(random: Random) -> torch.Generator:
    """A stream for one batch, seeded with 63 fresh bits."""
    return torch.Generator().manual_seed(int(random.words(1)[0] >> np.uint64(1)))


def choose_device(name: str) -> torch.device:
    """ "auto" is the first GPU, else the CPU; anything else is a torch device name."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Mixed precision: bf16 where asked for, or where "auto" finds hardware for it. Weights stay in fp32."""
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bf16()
        precision = "bf16" if fast else "fp32"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _cpu_has_bf16() -> bool:
    """Whether this CPU multiplies in bf16; where it does not, autocast is slower than single precision."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


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


@torch.no_grad()
def validation_losses(generator: Generator, slices: Slices, training: TrainingConfig, seed: int) -> dict[str, float]:
    """Mean loss by vendor with noises fixed by `seed`, so that rounds and arms can be compared."""
    device = choose_device(training.device)
    generator.to(device).eval()
    losses = {}
    for vendor, own in slices.by_vendor().items():
        images, masks, conditions = own.batch(range(len(own)), device)
        draws = generator.draw(images, torch.Generator().manual_seed(seed))
        draws = replace(draws, kept=torch.ones_like(draws.kept))
        with autocast(device, training.precision):
            losses[vendor] = float(generator.losses(images, masks, conditions, draws).mean())
    return losses
