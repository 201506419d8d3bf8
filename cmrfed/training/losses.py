"""The loss of a batch on any device in any precision, and the held-out loss that rounds and arms are compared by."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cmrfed.config import TrainingConfig
from cmrfed.generators import Draws, Generator
from cmrfed.privacy import Random
from cmrfed.shapes import Condition, Image, Mask
from cmrfed.slices import Slices

Batch = tuple[Image, Mask, Condition, Draws]
"""What a generator's losses are computed from."""


def mean_loss(generator: Generator, batch: Batch, training: TrainingConfig, device: torch.device) -> Tensor:
    """The mean loss of a batch, in the configured precision."""
    with autocast(device, training.precision):
        return generator.losses(*batch).mean()


def plain_gradient(
    generator: Generator,
    rows: tuple[Image, Mask, Condition],
    training: TrainingConfig,
    random: Random,
    device: torch.device,
) -> float:
    """One step without privacy: fill the gradients of the mean loss over a batch of slices; returns that loss."""
    images, masks, conditions = rows
    batch = images, masks, conditions, generator.draw(images, torch_generator(random))
    loss = mean_loss(generator, batch, training, device)
    generator.zero_grad(set_to_none=True)
    loss.backward()
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
    """Mean loss by vendor with noises fixed by `seed`, so that rounds and arms can be compared."""
    device = choose_device(training.device)
    generator.to(device).eval()
    return {
        vendor: float(mean_loss(generator, rows, training, device))
        for vendor, rows in _fixed(generator, slices, device, seed)
    }


@torch.no_grad()
def single_pixel_losses(generator: Generator, slices: Slices, training: TrainingConfig, seed: int) -> dict[str, float]:
    """What `validation_losses` would be of a predictor that sees one pixel at a time: no neighbour and no mask.

    It is the best linear one, Wiener's, for pixels of the slices' mean m and variance s^2: of x_t = a x + b e it makes
    x = m + a s^2 / (a^2 s^2 + b^2) (x_t - a m). A network that does no better has learnt nothing about hearts.
    """
    device = choose_device(training.device)
    generator.to(device)
    return {
        vendor: float(_single_pixel_loss(generator, images, draws))
        for vendor, (images, _, _, draws) in _fixed(generator, slices, device, seed)
    }


def _single_pixel_loss(generator: Generator, images: Image, draws: Draws) -> Tensor:
    signal, noise = (scale[:, None, None, None] for scale in generator.scales(draws.times))
    x_t = generator.corrupt(images, draws.noises, draws.times)
    mean, variance = images.mean(), images.var()
    guess = mean + signal * variance / (signal**2 * variance + noise**2) * (x_t - signal * mean)
    predicted = generator.target(guess, (x_t - signal * guess) / noise)
    return (predicted - generator.target(images, draws.noises)).square().mean()


def _fixed(generator: Generator, slices: Slices, device: torch.device, seed: int) -> Iterator[tuple[str, Batch]]:
    """Each vendor's slices as a batch whose draws `seed` decides, with every condition kept."""
    for vendor, own in slices.by_vendor().items():
        images, masks, conditions = own.batch(range(len(own)), device)
        draws = generator.draw(images, torch.Generator().manual_seed(seed))
        yield vendor, (images, masks, conditions, replace(draws, kept=torch.ones_like(draws.kept)))
