"""Does a patient's part of a step depend on who else is in it? Measured on a device, in every precision, either way.

The accountant takes one patient more to move the sum by at most C. Each row takes every patient out of a step in turn
and prints what was left behind, |sum with - sum without - the patient's own part| / C. It must stay within what
clipping keeps in hand, or the others moved too. Beside it: by how much the very same step differs from itself when it
is run again, which is chance and nobody's data, but is in the first figure too; and the largest own part, |part| / C,
which must be at most 1. "loop" where "vmap" was asked for means that the device rounds by place in a group, so that it
is not used.

Exit code 1 where a row fails.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from cmrfed.config import GeneratorConfig, TrainingConfig
from cmrfed.console import console
from cmrfed.generators import Generator
from cmrfed.privacy import Clipping
from cmrfed.privacy.clipping import ROUNDING_GUARD
from cmrfed.runs import describe_device
from cmrfed.training import choose_device
from cmrfed.training.losses import Batch
from cmrfed.training.private import clipped_sum, gradient_path, made_up_generator, made_up_patient

_CLIPPING = Clipping(max_grad_norm=0.05)
IN_HAND = 1 - ROUNDING_GUARD


@dataclass(frozen=True)
class PathCheck:
    """A row of the table. left_behind, chance and largest_part are in units of C."""

    precision: str
    asked: str
    taken: str
    left_behind: float
    chance: float
    largest_part: float

    @property
    def holds(self) -> bool:
        """Whether one patient moves the sum by at most C."""
        return self.left_behind <= IN_HAND and self.largest_part <= 1


def check(config: GeneratorConfig, device: torch.device, patients: int, shape: tuple[int, ...]) -> list[PathCheck]:
    """All rows. shape: of one patient's images, (slice, 1, row, column)."""
    generator, stream = made_up_generator(config, device), torch.Generator().manual_seed(1)
    drawn = [made_up_patient(generator, shape, stream, device) for _ in range(patients)]
    ways = product(("fp32", "bf16"), ("loop", "vmap"))
    return [_path_check(generator, drawn, device, precision, path) for precision, path in ways]


def _path_check(
    generator: Generator, drawn: Sequence[Batch], device: torch.device, precision: str, path: str
) -> PathCheck:
    """Groups of two, so that the last is full of everybody and not without one, or the other way about."""
    shape = tuple(drawn[0][0].shape)
    values = {"precision": precision, "patient_gradients": path, "device": str(device)}
    training = TrainingConfig(**values, slices_per_patient=shape[0], rows_at_once=2 * shape[0])  # type: ignore[arg-type]
    summed = partial(_summed, generator, training, device)
    everybody, again = summed(drawn), summed(drawn)
    parts = [summed([one]) for one in drawn]
    without = [summed([*drawn[:place], *drawn[place + 1 :]]) for place in range(len(drawn))]
    left = [everybody - others - part for others, part in zip(without, parts, strict=True)]
    taken = gradient_path(generator, training, device, shape)
    return PathCheck(precision, path, taken, _largest(left), _largest([everybody - again]), _largest(parts))


def _summed(generator: Generator, training: TrainingConfig, device: torch.device, drawn: Sequence[Batch]) -> Tensor:
    return clipped_sum(generator, iter(drawn), training, _CLIPPING, device)


def _largest(vectors: Sequence[Tensor]) -> float:
    return max(float(torch.linalg.vector_norm(vector)) for vector in vectors) / _CLIPPING.max_grad_norm


def table(checks: Sequence[PathCheck]) -> str:
    """Markdown."""
    rows = [
        f"| {one.precision} | {one.asked} | {one.taken} | {one.left_behind:.1e} | {one.chance:.1e} "
        f"| {one.largest_part:.7f} | {'yes' if one.holds else 'NO'} |"
        for one in checks
    ]
    head = f"| precision | asked | taken | left behind (at most {IN_HAND:.0e}) | by chance | largest part | at most C |"
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- | --- |", *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 where every row holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--slices", type=int, default=4, help="of each patient")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--channels", type=int, nargs="+", default=GeneratorConfig().channels)
    found = parser.parse_args(arguments)
    device = choose_device(found.device)
    shape = (found.slices, 1, found.size, found.size)
    checks = check(GeneratorConfig(channels=tuple(found.channels), trainable="all"), device, found.patients, shape)
    console.print(f"{describe_device()}, torch {torch.__version__}, {found.patients} patients of {shape}")
    console.print(table(checks), markup=False, soft_wrap=True)
    return 0 if all(one.holds for one in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
