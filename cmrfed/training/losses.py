"""The loss of a batch on any device in any precision, and the held-out loss that rounds and arms are compared by."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from cmrfed.batches import Batch
from cmrfed.config import TrainingConfig
from cmrfed.generators import Denoiser, Generator, Objective, Parts
from cmrfed.privacy import Random
from cmrfed.shapes import spread
from cmrfed.slices import Slices
from cmrfed.stacks import Stacks, samples_of


def mean_loss(objective: Objective, batch: Batch, training: TrainingConfig, device: torch.device) -> Tensor:
    """The mean loss of a batch that was drawn, in the configured precision."""
    with autocast(device, training.precision):
        return objective.losses(batch).mean()


def plain_gradient(
    objective: Objective, batch: Batch, training: TrainingConfig, random: Random, device: torch.device
) -> float:
    """One step without privacy: fill the gradients of the mean loss over a batch, by the objective's weights alone;
    returns that loss."""
    weights = list(objective.weights())
    loss = mean_loss(objective, objective.drawn(batch, torch_generator(random)), training, device)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    return float(loss.detach())


def torch_generator(random: Random) -> torch.Generator:
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


@torch.no_grad()
def validation_losses(generator: Generator, slices: Slices, training: TrainingConfig, seed: int) -> dict[str, float]:
    """Mean loss by vendor of the present stage's private objective, with draws fixed by `seed`, so that rounds and arms
    can be compared."""
    device = choose_device(training.device)
    objective = generator.to(device).eval().objective
    return {
        vendor: float(mean_loss(objective, batch, training, device))
        for vendor, batch in _fixed(objective, samples_of(slices, generator.config.levels), device, seed)
    }


@torch.no_grad()
def single_pixel_losses(generator: Denoiser, slices: Slices, training: TrainingConfig, seed: int) -> dict[str, float]:
    """What `validation_losses` would be of a predictor that sees one pixel at a time: no neighbour and no mask.

    It is the best linear one, Wiener's, for pixels of the slices' mean m and variance s^2, those of each channel: of
    x_t = a x + b e it makes x = m + a s^2 / (a^2 s^2 + b^2) (x_t - a m). A network that does no better has learnt
    nothing about hearts.
    """
    device = choose_device(training.device)
    objective = generator.to(device).denoising
    return {
        vendor: float(_single_pixel_loss(generator, batch))
        for vendor, batch in _fixed(objective, samples_of(slices, generator.config.levels), device, seed)
    }


def _single_pixel_loss(generator: Denoiser, batch: Batch) -> Tensor:
    images, noises, times = batch.images, batch.draws["noises"], batch.draws["times"]
    signal, noise = (spread(scale, images) for scale in generator.alpha_sigma(times))
    x_t = generator.corrupt(images, noises, times)
    all_but_channels = [0, *range(2, images.ndim)]
    mean, variance = (one(images, dim=all_but_channels, keepdim=True) for one in (torch.mean, torch.var))
    guess = mean + signal * variance / (signal**2 * variance + noise**2) * (x_t - signal * mean)
    guessed = generator.path.target(Parts(guess, (x_t - signal * guess) / noise), times)
    return generator.error(guessed, generator.path.target(Parts(images, noises), times), images).mean()


def _fixed(
    objective: Objective, slices: Slices | Stacks, device: torch.device, seed: int
) -> Iterator[tuple[str, Batch]]:
    """Each vendor's slices as a batch whose draws `seed` decides."""
    for vendor, own in slices.by_vendor().items():
        drawn = objective.drawn(own.batch(range(len(own)), device), torch.Generator().manual_seed(seed))
        yield vendor, objective.told(drawn)
