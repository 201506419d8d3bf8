"""What privacy costs in time and memory, against the same step without it and against Opacus, in one run.

A step takes 8 patients of 4 slices at 64 x 64, all weights trained unless said otherwise, through two networks: the
default one, which folds 2 x 2 pixels into channels and so works at 32 x 32, and one of half the weights that works at
64 x 64. The variants take turns, so that a busy machine slows all alike; the medians' ratios are what counts. Memory is
the peak of a fresh process a figure. The table is written to `benches/privacy.md`, the figures to `privacy.json`.
"""

import json
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from torch import Tensor, nn

from cmrfed.columns import columns
from cmrfed.config import GeneratorConfig, TrainingConfig
from cmrfed.console import console, progress_bar
from cmrfed.generators import Generator, build_generator
from cmrfed.privacy import Clipping, LocalNoise, PrivacyPlan, SecureRandom
from cmrfed.runs import describe_device, software_versions
from cmrfed.slices import Patient, Slices
from cmrfed.training import autocast, mean_loss, noised_sum, patient_batch

OUT = Path(__file__).resolve().parent
PATIENTS, SLICES, SIZE = 8, 4, 64
CPU = torch.device("cpu")
FOLDED = GeneratorConfig(channels=(48, 96, 128), trainable="all")
UNFOLDED = GeneratorConfig(channels=(32, 64, 96), patch=1, trainable="all")
FEW = FOLDED.model_copy(update={"trainable": "modulation"})
RUNS = {
    ("folded", "fp32"): (FOLDED, 9),
    ("folded", "bf16"): (FOLDED, 9),
    ("folded, modulation", "fp32"): (FEW, 9),
    ("folded, modulation", "bf16"): (FEW, 9),
    ("unfolded", "fp32"): (UNFOLDED, 5),
    ("unfolded", "bf16"): (UNFOLDED, 5),
}
"""Network and turns of each run."""
MICRO, FULL, LOOP, VMAP = "no privacy, same micro-batches", "no privacy, full batch", "private, loop", "private, vmap"
HOOKS, GHOST = "Opacus hooks", "Opacus ghost clipping"
LOGICAL_BATCHES = (10, 100, 1000)

Medians = dict[str, float]


@dataclass(frozen=True)
class Aim:
    """A ratio of two steps' times that should stay below a limit."""

    what: str
    found: float
    limit: float


def main() -> None:
    """Measure, print and write the table."""
    slices, plan = _slices(), _plan()
    medians = {name: _measure(slices, plan, name, *run) for name, run in RUNS.items()}
    memory = {path: _memory(path) for path in ("loop", "vmap")}
    aims = _aims(medians)
    text = _markdown(medians, memory, aims)
    (OUT / "privacy.md").write_text(text, encoding="utf-8")
    (OUT / "privacy.json").write_text(json.dumps(_record(medians, memory, aims), indent=2) + "\n", encoding="utf-8")
    console.print(text, markup=False, soft_wrap=True)


def _measure(slices: Slices, plan: PrivacyPlan, name: tuple[str, str], config: GeneratorConfig, turns: int) -> Medians:
    """Median seconds of each variant's step, variants taking turns."""
    variants = _variants(slices, plan, config, name[1])
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    with progress_bar(f"timing, {name[0]} in {name[1]}") as progress:
        for turn in range(turns + 2):
            for variant, step in variants.items():
                started = time.perf_counter()
                step()
                seconds[variant].append(time.perf_counter() - started)
            progress(turn + 1, turns + 2)
    return {variant: statistics.median(times[2:]) for variant, times in seconds.items()}  # the first two warm up


def _variants(
    slices: Slices, plan: PrivacyPlan, config: GeneratorConfig, precision: str
) -> dict[str, Callable[[], object]]:
    # groups are always full, so that one of more patients than there are would compute for nobody
    rows = PATIENTS * SLICES
    training = TrainingConfig(slices_per_patient=SLICES, precision=precision, rows_at_once=rows)  # type: ignore[arg-type]
    loop, vmap = (training.model_copy(update={"patient_gradients": path}) for path in ("loop", "vmap"))
    generator = build_generator(config, 0)
    variants: dict[str, Callable[[], object]] = {
        LOOP: partial(_private, generator, slices, loop, plan),
        VMAP: partial(_private, generator, slices, vmap, plan),
        MICRO: partial(_micro_batches, generator, slices, training),
        FULL: partial(_full_batch, generator, slices, training),
    }
    if config.trainable == "all":
        variants[HOOKS] = partial(_opacus, _hooked(config), slices, training, plan)
        variants[GHOST] = partial(_ghost, _ghosted(config), slices, training, plan)
    return variants


def _private(generator: Generator, slices: Slices, training: TrainingConfig, plan: PrivacyPlan) -> None:
    plan.mean(noised_sum(generator, slices, training, plan, plan.clipping, SecureRandom(), CPU), plan.clipping)


def _micro_batches(generator: Generator, slices: Slices, training: TrainingConfig) -> None:
    """The same rows in the same micro-batches; gradients accumulate in the weights as usual."""
    random = SecureRandom()
    generator.zero_grad(set_to_none=True)
    for patient in range(PATIENTS):
        batch = patient_batch(generator.objective, slices, patient, training, random, CPU)
        (mean_loss(generator.objective, batch, training, CPU) / PATIENTS).backward()


def _full_batch(generator: Generator, slices: Slices, training: TrainingConfig) -> None:
    generator.zero_grad(set_to_none=True)
    _losses(generator, slices, training).mean().backward()


def _opacus(wrapped: GradSampleModule, slices: Slices, training: TrainingConfig, plan: PrivacyPlan) -> None:
    """The same mechanism on Opacus' per-sample gradients: mean by patient, clip, sum, noise."""
    wrapped.zero_grad(set_to_none=True)
    _losses(wrapped._module, slices, training).mean().backward()
    samples = [weight.grad_sample for weight in wrapped.parameters()]
    patients = torch.cat([sample.flatten(1) for sample in samples], dim=1).view(PATIENTS, SLICES, -1).mean(1)
    factors = (plan.clipping.max_grad_norm / patients.norm(dim=1)).clamp(max=1.0)
    total = (factors[:, None] * patients).sum(0)
    total += plan.noise_multiplier * plan.clipping.max_grad_norm * torch.randn_like(total)
    for weight in wrapped.parameters():
        weight.grad_sample = None


def _ghost(
    wrapped: GradSampleModuleFastGradientClipping, slices: Slices, training: TrainingConfig, plan: PrivacyPlan
) -> None:
    """Two backward passes, the second over losses weighted by the ghost norms; by slice, as it knows no patients."""
    wrapped.zero_grad(set_to_none=True)
    losses = _losses(wrapped._module, slices, training)
    losses.mean().backward(retain_graph=True)
    weights = wrapped.get_clipping_coef()
    wrapped.zero_grad(set_to_none=True)
    wrapped.disable_hooks()
    (weights * losses).sum().backward()
    wrapped.enable_hooks()
    for weight in wrapped.parameters():
        if weight.grad is not None:
            weight.grad += plan.noise_multiplier * torch.randn_like(weight)


def _losses(generator: nn.Module, slices: Slices, training: TrainingConfig) -> Tensor:
    assert isinstance(generator, Generator)
    batch = generator.objective.drawn(slices.batch(range(len(slices))), torch.Generator())
    with autocast(CPU, training.precision):
        return generator(batch)


def _hooked(config: GeneratorConfig) -> GradSampleModule:
    """Opacus' hooks around the network. They are bound to modules, so calling the inner generator runs them."""
    warnings.filterwarnings("ignore", message=".*backward hook.*")
    return GradSampleModule(build_generator(config, 0), loss_reduction="mean")


def _ghosted(config: GeneratorConfig) -> GradSampleModuleFastGradientClipping:
    """Ghost clipping cannot take embeddings, whose few weights are left out."""
    generator = build_generator(config, 0)
    generator.network.unet.class_embedding.requires_grad_(False)
    return GradSampleModuleFastGradientClipping(
        generator, loss_reduction="mean", max_grad_norm=1.0, use_ghost_clipping=True
    )


class _Repeated(Slices):
    """As many patients as one likes, all with the same few slices: what grows is the batch and not the data."""

    number_of_patients = 1000  # type: ignore[assignment]

    def of_patient(self, patient: int) -> np.ndarray:
        return super().of_patient(patient % PATIENTS)


def _memory(path: str) -> dict[int, float]:
    """Peak memory in MB of one private step, by the logical batch, each in a process of its own."""
    found = {}
    with progress_bar(f"memory, {path}") as progress:
        for done, patients in enumerate(LOGICAL_BATCHES, start=1):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[patients] = pool.apply(_peak_mb, (path, patients))
            progress(done, len(LOGICAL_BATCHES))
    return found


def _peak_mb(path: str, patients: int) -> float:
    Path("/proc/self/clear_refs").write_text(
        "5", encoding="utf-8"
    )  # forgets the peak that a new process takes over from its parent
    slices = _Repeated(**vars(_slices()))
    _Repeated.number_of_patients = patients  # type: ignore[assignment]
    training = TrainingConfig(slices_per_patient=SLICES, precision="fp32", patient_gradients=path)  # type: ignore[arg-type]
    _private(build_generator(FOLDED, 0), slices, training, _plan())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def _slices() -> Slices:
    random, count = np.random.default_rng(0), PATIENTS * SLICES
    return Slices(
        images=random.uniform(-1, 1, (count, SIZE, SIZE)).astype(np.float32),
        masks=random.integers(0, 4, (count, SIZE, SIZE)).astype(np.uint8),
        conditions=columns(count, {"vendor": "Siemens", "phase": "ED"}),
        patients=np.repeat(np.arange(PATIENTS), SLICES),
        visits=np.zeros(count, dtype=np.int64),
        stacks=np.repeat(np.arange(PATIENTS), SLICES),
        spacing_mm=np.tile([8.0, 2.0, 2.0], (count, 1)),
        records=tuple(Patient(f"p{number}", "bench", "Siemens", "1", "NOR") for number in range(PATIENTS)),
    )


def _plan() -> PrivacyPlan:
    """Everybody is sampled, so that all variants see the same rows."""
    return LocalNoise(
        sample_rate=1.0,
        noise_multiplier=1.0,
        clipping=Clipping(max_grad_norm=1.0),
        declared_patients=PATIENTS,
        steps=1,
        delta=1e-4,
        target_epsilon=100.0,
    )


def _aims(medians: dict[tuple[str, str], Medians]) -> list[Aim]:
    aims = []
    for network in ("folded", "unfolded"):
        fp32, bf16 = medians[network, "fp32"], medians[network, "bf16"]
        aims += [
            Aim(f"{network}: private loop / the same micro-batches, fp32", fp32[LOOP] / fp32[MICRO], 1.05),
            Aim(
                f"{network}: private, the faster way, bf16 / full batch, fp32",
                min(bf16[LOOP], bf16[VMAP]) / fp32[FULL],
                0.6,
            ),
            Aim(f"{network}: private loop / Opacus hooks, fp32", fp32[LOOP] / fp32[HOOKS], 0.5),
            Aim(f"{network}: private loop / Opacus ghost clipping, fp32", fp32[LOOP] / fp32[GHOST], 1.0),
        ]
    return aims


def _record(
    medians: dict[tuple[str, str], Medians], memory: dict[str, dict[int, float]], aims: list[Aim]
) -> dict[str, object]:
    return {
        "device": describe_device(),
        "versions": software_versions(),
        "seconds": {", ".join(name): times for name, times in medians.items()},
        "peak_memory_mb": memory,
        "aims": [asdict(aim) for aim in aims],
    }


def _markdown(medians: dict[tuple[str, str], Medians], memory: dict[str, dict[int, float]], aims: list[Aim]) -> str:
    order = (LOOP, VMAP, MICRO, FULL, HOOKS, GHOST)
    lines = [
        "# What privacy costs in time and memory\n",
        f"`make bench`, {describe_device()}, torch {torch.__version__}. One step of {PATIENTS} patients x {SLICES}",
        f"slices at {SIZE} x {SIZE}, all weights trained unless said otherwise: median seconds, in brackets the ratio",
        "to the full batch without privacy in the same row.\n",
        f"| network, precision | {' | '.join(order)} |",
        f"| --- |{' --- |' * len(order)}",
    ]
    for name, times in medians.items():
        cells = [f"{times[v]:.3f} ({times[v] / times[FULL]:.2f})" if v in times else "" for v in order]
        lines.append(f"| {', '.join(name)} | {' | '.join(cells)} |")
    lines += ["", "| ratio | found | aim | |", "| --- | --- | --- | --- |"]
    lines += [f"| {a.what} | {a.found:.2f} | {a.limit:g} | {'met' if a.found <= a.limit else 'missed'} |" for a in aims]
    lines += [
        "",
        "Peak memory of a process that takes one private step, all 3.3 million weights trained, fp32, in MB:",
        "",
    ]
    lines += [
        f"| patients in the step | {' | '.join(map(str, LOGICAL_BATCHES))} |",
        f"| --- |{' --- |' * len(LOGICAL_BATCHES)}",
    ]
    lines += [f"| {path} | {' | '.join(f'{mb:.0f}' for mb in found.values())} |" for path, found in memory.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
