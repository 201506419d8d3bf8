"""The loss of a batch on any device in any precision, and the held-out loss that rounds and arms are compared by."""

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
    losses = {}
    for vendor, own in slices.by_vendor().items():
        images, masks, conditions = own.batch(range(len(own)), device)
        draws = generator.draw(images, torch.Generator().manual_seed(seed))
        draws = replace(draws, kept=torch.ones_like(draws.kept))
        with autocast(device, training.precision):
            losses[vendor] = float(generator.losses(images, masks, conditions, draws).mean())
    return losses
