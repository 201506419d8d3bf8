"""What privacy costs in time: one private step against the same step without, and against Opacus, in one run.

A step takes 8 patients of 4 slices at 64 x 64, all weights trained, through two networks: the default one, which folds
2 x 2 pixels into channels and so works at 32 x 32, and one of half the weights that works at 64 x 64. The variants take
turns, so that a busy machine slows all alike; the medians' ratios are what counts.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule
from rich.table import Table
from torch import Tensor, nn

from cmrfed.config import GeneratorConfig, TrainingConfig
from cmrfed.console import console, progress_bar
from cmrfed.generators import Generator, build_generator
from cmrfed.privacy import PrivacyPlan, SecureRandom
from cmrfed.slices import Patient, Slices
from cmrfed.training import autocast, patient_loss, private_gradient

PATIENTS, SLICES, SIZE = 8, 4, 64
AIMS = {"non-private, same micro-batches": 1.06, "non-private, full batch": 1.0, "Opacus hooks": 0.5}
CPU = torch.device("cpu")
FOLDED, UNFOLDED = GeneratorConfig(), GeneratorConfig(channels=(32, 64, 96), patch=1)
RUNS = {("folded", "fp32"): (FOLDED, 9), ("folded", "bf16"): (FOLDED, 9), ("unfolded", "fp32"): (UNFOLDED, 5)}
"""Network and turns of each run."""


def main() -> None:
    """Print the table."""
    slices, plan = _slices(), _plan()
    medians = {name: _measure(slices, plan, name, *run) for name, run in RUNS.items()}
    console.print(_table(medians))


def _measure(
    slices: Slices, plan: PrivacyPlan, name: tuple[str, str], config: GeneratorConfig, turns: int
) -> dict[str, float]:
    """Median seconds of each variant's step, variants taking turns."""
    training = TrainingConfig(slices_per_patient=SLICES, precision=name[1])  # type: ignore[arg-type]
    variants: dict[str, Callable[[], object]] = {
        "private (cmrfed)": partial(_private, build_generator(config, 0), slices, training, plan),
        "non-private, same micro-batches": partial(_micro_batches, build_generator(config, 0), slices, training),
        "non-private, full batch": partial(_full_batch, build_generator(config, 0), slices, training),
        "Opacus hooks": partial(_opacus, _wrapped(config), slices, training, plan),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    with progress_bar(f"timing, {name[0]} network in {name[1]}") as progress:
        for turn in range(turns + 2):
            for variant, step in variants.items():
                started = time.perf_counter()
                step()
                seconds[variant].append(time.perf_counter() - started)
            progress(turn + 1, turns + 2)
    return {variant: statistics.median(times[2:]) for variant, times in seconds.items()}  # the first two warm up


def _private(generator: Generator, slices: Slices, training: TrainingConfig, plan: PrivacyPlan) -> None:
    weights = list(generator.parameters())
    private_gradient(generator, weights, slices, training, plan, SecureRandom(), CPU)


def _micro_batches(generator: Generator, slices: Slices, training: TrainingConfig) -> None:
    """The same rows in the same micro-batches; gradients accumulate in the weights as usual."""
    random = SecureRandom()
    generator.zero_grad(set_to_none=True)
    for patient in range(PATIENTS):
        (patient_loss(generator, slices, patient, training, random, CPU) / PATIENTS).backward()


def _full_batch(generator: Generator, slices: Slices, training: TrainingConfig) -> None:
    generator.zero_grad(set_to_none=True)
    _losses(generator, slices, training).mean().backward()


def _opacus(wrapped: GradSampleModule, slices: Slices, training: TrainingConfig, plan: PrivacyPlan) -> None:
    """The same mechanism on Opacus' per-sample gradients: mean by patient, clip, sum, noise."""
    wrapped.zero_grad(set_to_none=True)
    _losses(wrapped._module, slices, training).mean().backward()
    samples = [weight.grad_sample for weight in wrapped.parameters()]
    patients = torch.cat([sample.flatten(1) for sample in samples], dim=1).view(PATIENTS, SLICES, -1).mean(1)
    factors = plan.clip_factor(patients.norm(dim=1))
    total = (factors[:, None] * patients).sum(0)
    total += plan.noise_multiplier * plan.max_grad_norm * torch.randn_like(total)
    for weight in wrapped.parameters():
        weight.grad_sample = None


def _losses(generator: nn.Module, slices: Slices, training: TrainingConfig) -> Tensor:
    images, masks, conditions = slices.batch(range(len(slices)))
    assert isinstance(generator, Generator)
    with autocast(CPU, training.precision):
        return generator.losses(images, masks, conditions, generator.draw(images, torch.Generator()))


def _wrapped(config: GeneratorConfig) -> GradSampleModule:
    """Opacus' hooks around the network. They are bound to modules, so calling the inner generator runs them."""
    warnings.filterwarnings("ignore", message=".*backward hook.*")
    return GradSampleModule(build_generator(config, 0), loss_reduction="mean")


def _slices() -> Slices:
    random, count = np.random.default_rng(0), PATIENTS * SLICES
    return Slices(
        images=random.uniform(-1, 1, (count, SIZE, SIZE)).astype(np.float32),
        masks=random.integers(0, 4, (count, SIZE, SIZE)).astype(np.uint8),
        conditions=np.zeros((count, 2), dtype=np.int64),
        patients=np.repeat(np.arange(PATIENTS), SLICES),
        stacks=np.repeat(np.arange(PATIENTS), SLICES),
        spacing_mm=np.tile([8.0, 2.0, 2.0], (count, 1)),
        records=tuple(Patient(f"p{number}", "bench", "Siemens", "1", "NOR") for number in range(PATIENTS)),
    )


def _plan() -> PrivacyPlan:
    """Everybody is sampled, so that all variants see the same rows."""
    return PrivacyPlan(
        sample_rate=1.0,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        declared_patients=PATIENTS,
        minimum_patients=1,
        steps=1,
        delta=1e-4,
        target_epsilon=100.0,
    )


def _table(medians: dict[tuple[str, str], dict[str, float]]) -> Table:
    table = Table(
        title=f"one step, {PATIENTS} patients x {SLICES} slices, {SIZE} x {SIZE}, {torch.get_num_threads()} threads"
    )
    for column in ("network", "precision", "step", "seconds", "private / this", "aim"):
        table.add_column(column)
    for (network, precision), times in medians.items():
        private = times["private (cmrfed)"]
        for name, seconds in times.items():
            aim = f"at most {AIMS[name]:g}" if precision == "fp32" and name in AIMS else ""
            table.add_row(network, precision, name, f"{seconds:.3f}", f"{private / seconds:.2f}", aim)
    ratio = medians["folded", "bf16"]["private (cmrfed)"] / medians["folded", "fp32"]["non-private, full batch"]
    table.caption = f"folded: private step in bf16 / non-private full batch in fp32: {ratio:.2f}"
    return table


if __name__ == "__main__":
    main()
