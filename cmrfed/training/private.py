"""One private step at a site: sample patients, compute each one's gradient, clip, sum, noise."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, islice

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from cmrfed.batches import Batch, joined, unknown_conditions
from cmrfed.config import GeneratorConfig, TrainingConfig
from cmrfed.generators import Generator, Objective, build_generator
from cmrfed.privacy import (
    Clipped,
    Clipping,
    Noised,
    PrivacyPlan,
    Random,
    clipped_gradient_sum,
    looped_gradients,
    places_are_alike,
    vmapped_gradients,
)
from cmrfed.shapes import Label
from cmrfed.slices import Slices
from cmrfed.stacks import Stacks
from cmrfed.training.losses import autocast, mean_loss, torch_generator

_ENTRIES_AT_ONCE = 1 << 22


def trained_weights(generator: Generator) -> list[nn.Parameter]:
    """The weights that are trained, in the order in which they are flattened."""
    return [weight for weight in generator.parameters() if weight.requires_grad]


def noised_sum(
    generator: Generator,
    slices: Slices | Stacks,
    training: TrainingConfig,
    plan: PrivacyPlan,
    clipping: Clipping,
    random: Random,
    device: torch.device,
    canaries: Sequence[Tensor] = (),
) -> Noised:
    """One private step at a site: sample patients, clip each one's gradient, sum, noise; in units of the plan's grid.

    All randomness comes from `random`. Were the slices, times and noises of a patient drawn from a public seed, one
    patient more or less would shift every later patient's draws, and the sum by more than C.
    """
    patients, objective = slices.number_of_patients, generator.objective
    sampled = plan.sample_patients(patients + len(canaries), random).tolist()
    batches = (patient_batch(objective, slices, one, training, random, device) for one in sampled if one < patients)
    total = clipped_sum(generator, batches, training, clipping, device)
    planted = [canaries[one - patients] for one in sampled if one >= patients]
    if planted:
        weights = trained_weights(generator)
        total = Clipped(total + clipped_gradient_sum(weights, _given_gradients(weights, planted), clipping))
    return plan.noised(total, clipping, random)


def clipped_sum(
    generator: Generator, batches: Iterator[Batch], training: TrainingConfig, clipping: Clipping, device: torch.device
) -> Clipped:
    """Sum over patients of the clipped gradient, as `clipped_gradient_sum` gives it, in the way that is configured.

    Kernels are chosen by shapes alone: neither a timing nor chance may decide how a patient's gradient is rounded.
    """
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=torch.backends.cudnn.allow_tf32):
        gradients = _gradients(generator, batches, training, device)
        return clipped_gradient_sum(trained_weights(generator), gradients, clipping)


def _gradients(
    generator: Generator, batches: Iterator[Batch], training: TrainingConfig, device: torch.device
) -> Iterator[Sequence[Tensor]]:
    """Of nobody, none."""
    objective = generator.objective
    for first in islice(batches, 1):
        drawn = chain([first], batches)
        if gradient_path(generator, training, device, _image_shape(first)) == "loop":
            losses = (partial(mean_loss, objective, batch, training, device) for batch in drawn)
            yield from looped_gradients(trained_weights(generator), losses)
        else:
            together = _patients_together(training)
            chunks = (tuple(tree_leaves(joined(some, _stacked))) for some in _chunks(drawn, together))
            yield from vmapped_gradients(generator, _patient_loss(first, training, device), chunks, together)


def _image_shape(drawn: Batch) -> tuple[int, ...]:
    """Of the images that a batch was drawn from, which may hold what they were encoded to; masks stay as they are."""
    rows, *grid = drawn.masks.shape
    return rows, 1, *grid


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Patients' rows as one tensor (patient, row, ...); all patients have equally many."""
    return torch.stack(list(parts))


def _patients_together(training: TrainingConfig) -> int:
    return max(1, training.rows_at_once // training.rows_of_patient)


def _patient_loss(like: Batch, training: TrainingConfig, device: torch.device) -> Callable[..., Tensor]:
    """One patient's loss as `vmapped_gradients` wants it: of the tensors that make up a batch like that one."""
    _, structure = tree_flatten(like)

    def loss(call: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        with autocast(device, training.precision):
            return call(tree_unflatten(rows, structure)).mean()

    return loss


def _chunks(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    remaining = iter(batches)
    while chunk := list(islice(remaining, size)):
        yield chunk


def patient_batch(
    objective: Objective,
    slices: Slices | Stacks,
    patient: int,
    training: TrainingConfig,
    random: Random,
    device: torch.device,
) -> Batch:
    """A patient's rows for a step: `slices_per_patient` slices, each with `noise_multiplicity` times and noises.

    Slices are drawn without replacement; a patient with fewer gives all, and then some again.
    """
    own = torch.as_tensor(slices.of_patient(patient))
    stream = torch_generator(random)
    rounds_of_own = math.ceil(training.slices_per_patient / len(own))
    order = torch.cat([torch.randperm(len(own), generator=stream) for _ in range(rounds_of_own)])
    chosen = own[order[: training.slices_per_patient]].repeat(training.noise_multiplicity)
    return objective.drawn(slices.batch(chosen, device), stream)


def _given_gradients(weights: Sequence[Tensor], directions: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Flat gradients weight by weight, some at a time."""
    sizes = [weight.numel() for weight in weights]
    for start in range(0, len(directions), some := max(1, _ENTRIES_AT_ONCE // sum(sizes))):
        parts = torch.stack(list(directions[start : start + some])).to(weights[0]).split(sizes, dim=1)
        yield [part.view(len(part), *weight.shape) for part, weight in zip(parts, weights, strict=True)]


def gradient_path(generator: Generator, training: TrainingConfig, device: torch.device, shape: tuple[int, ...]) -> str:
    """The configured way to patients' gradients; "auto" is the loop on a CPU, which `make bench` shows to be as fast
    there and repeatable to the bit, and what a trial finds faster on any other device. Several patients at once only
    where that leaves no trace in any one's gradient. shape: of a patient's images."""
    auto = training.patient_gradients == "auto"
    if training.patient_gradients == "loop" or (auto and device.type == "cpu"):
        return "loop"
    asked = (generator.config, generator.stage, training, str(device), shape)
    if not _places_are_alike(*asked):
        return "loop"
    return _faster_path(*asked) if auto else "vmap"


@lru_cache
def _places_are_alike(
    config: GeneratorConfig, stage: int, training: TrainingConfig, device_name: str, shape: tuple[int, ...]
) -> bool:
    """Tries it on made-up patients, once for each network, stage, device and shape."""
    device, stream = torch.device(device_name), torch.Generator().manual_seed(0)
    generator = made_up_generator(config, device, stage)
    one, other = (made_up_patient(generator, shape, stream, device) for _ in range(2))
    loss, together = _patient_loss(one, training, device), _patients_together(training)
    return places_are_alike(generator, loss, tree_leaves(one), tree_leaves(other), together)


@lru_cache
def _faster_path(
    config: GeneratorConfig, stage: int, training: TrainingConfig, device_name: str, shape: tuple[int, ...]
) -> str:
    """Times both ways on made-up patients, once for each network, stage and device; patients' data do not sway the
    choice."""
    device = torch.device(device_name)
    generator = made_up_generator(config, device, stage)
    seconds = {path: _seconds_of(generator, training, path, device, shape) for path in ("loop", "vmap")}
    return min(seconds, key=lambda path: seconds[path])


def _seconds_of(
    generator: Generator, training: TrainingConfig, path: str, device: torch.device, shape: tuple[int, ...]
) -> float:
    """The second of two sums over a group of patients; the first warms up."""
    chosen = training.model_copy(update={"patient_gradients": path})
    stream = torch.Generator().manual_seed(0)
    seconds = math.inf
    for _ in range(2):
        started = time.perf_counter()
        batches = (made_up_patient(generator, shape, stream, device) for _ in range(_patients_together(training)))
        float(clipped_sum(generator, batches, chosen, Clipping(max_grad_norm=1.0), device).sum())
        seconds = time.perf_counter() - started
    return seconds


def made_up_generator(config: GeneratorConfig, device: torch.device, stage: int = 0) -> Generator:
    """At that stage, with no weight at zero, where it would hide the gradients of those before it."""
    generator, stream = build_generator(config, seed=0), torch.Generator().manual_seed(0)
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.1, generator=stream)
    return generator.enter(stage + 1, generator.stages).to(device).train()


def made_up_patient(
    generator: Generator, shape: tuple[int, ...], stream: torch.Generator, device: torch.device
) -> Batch:
    """A patient of noise. shape: of the images."""
    images = torch.randn(shape, generator=stream).to(device)
    conditions = unknown_conditions(generator.config.conditions, len(images), shape[2:])
    conditions["mask"] = torch.randint(0, len(Label), (len(images), *shape[2:]), generator=stream)
    return generator.objective.drawn(Batch(images, conditions, {}).to(device), stream)
