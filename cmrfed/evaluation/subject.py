"""What an evaluation is of: real patients, and the images that one or more generators made for real masks."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmrfed.config import EvaluationConfig, SamplingConfig
from cmrfed.core.progress import ProgressBar, shifted
from cmrfed.generators import Generator
from cmrfed.runs import Run
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices
from cmrfed.training import choose_device
from cmrfed.updates import load_generator

Results = dict[str, Any]


@dataclass(frozen=True)
class Synthetic:
    """One generator's images: for held-out patients' masks (`shown`) and for training patients' masks (`learnt`).

    generator: the file of its weights; None when it is not at hand, as for images that somebody else made.
    paired: whether `shown` has an image for every mask of the subject's `shown`, in its order; else it is any images.
    """

    shown: Slices
    learnt: Slices
    generator: Path | None
    seconds_per_slice: float | None = None
    paired: bool = True

    def load(self) -> Generator:
        """The generator itself."""
        assert self.generator is not None
        return load_generator(self.generator)[0]


@dataclass(frozen=True)
class Subject:
    """What is measured, and with what.

    train: slices of the patients that were trained on; held_out: of patients that were not, drawn beforehand.
    shown, learnt: the parts of them (labelled, for `learnt`) whose masks were drawn for. synthetic: by arm.
    cache: a folder for what is slow to compute again; it is derived from patients and deserves the same protection.
    members_known: False where somebody else trained the generator, and it is not known on whom.
    """

    train: Slices
    held_out: Slices
    shown: Slices
    learnt: Slices
    synthetic: dict[str, Synthetic]
    seed: int
    bootstrap: int
    device: torch.device
    precision: str
    cache: Path
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    members_known: bool = True


def subject_of(run: Run, config: EvaluationConfig, bar: ProgressBar) -> Subject:
    """A run's patients, and what each of its arms draws for them; the slices shown are kept for the report."""
    seed, training = run.config.seed, run.config.training
    train, held_out = run.train_slices(), run.held_out_slices()
    measured = any((config.fidelity, config.utility, config.leakage))
    most_shown = config.fidelity.slices if config.fidelity else _SHOWN * measured
    most_learnt = config.utility.slices if config.utility else 0
    shown, learnt = thin(held_out, most_shown, seed), thin(train.labelled(), most_learnt, seed)
    return Subject(
        train=train,
        held_out=held_out,
        shown=shown,
        learnt=learnt,
        synthetic=_made_elsewhere(run, most_shown, most_learnt)
        if run.record.images
        else {arm: _sampled(run, arm, shown, learnt, bar) for arm in run.arms()},
        seed=seed,
        bootstrap=config.bootstrap,
        device=choose_device(training.device),
        precision=training.precision,
        cache=run.folder / "central" / "cache",
        sampling=run.config.sampling,
        members_known=run.record.members_known,
    )


_SHOWN = 200
"""Slices drawn for the report's pictures where fidelity is not measured; where nothing is, none are."""


def _sampled(run: Run, arm: str, shown: Slices, learnt: Slices, bar: ProgressBar) -> Synthetic:
    path = run.model(arm)
    if not len(shown) + len(learnt):
        return Synthetic(shown, learnt, path)
    generator, _ = load_generator(path)
    total, training, started = len(shown) + len(learnt), run.config.training, time.monotonic()
    with bar(f"sampling, {arm}") as progress:
        made = [
            synthesise(
                generator, slices, run.config.sampling, run.config.seed, training.device, training.precision,
                shifted(progress, before, total),
            )
            for slices, before in ((shown, 0), (learnt, len(shown)))
        ]  # fmt: skip
    made[0].save(run.arm_folder(arm) / "synthetic.safetensors")
    return Synthetic(made[0], made[1], path, (time.monotonic() - started) / total)


def _made_elsewhere(run: Run, most_shown: int, most_learnt: int) -> dict[str, Synthetic]:
    """Somebody else's images, whose masks are of nobody here."""
    images, seed = Slices.load(run.arm_folder("external") / "synthetic.safetensors"), run.config.seed
    shown, learnt = thin(images, most_shown, seed), thin(images.labelled(), most_learnt, seed)
    return {"external": Synthetic(shown, learnt, generator=None, paired=False)}


def thin(slices: Slices, count: int, seed: int) -> Slices:
    """At most `count` slices, drawn at random but kept in order; patients that lose all theirs are dropped."""
    if len(slices) <= count:
        return slices
    rows = np.sort(np.random.default_rng(seed).permutation(len(slices))[:count])
    return slices.take(rows)


def few_of_each(slices: Slices, count: int) -> Slices:
    """At most `count` slices of each patient, evenly spread over the patient's stacks."""
    rows = []
    for patient in range(slices.number_of_patients):
        own = slices.of_patient(patient)
        rows.append(own[np.unique(np.linspace(0, len(own) - 1, count).round().astype(int))])
    return slices.take(np.sort(np.concatenate(rows)))
