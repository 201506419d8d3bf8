"""Leakage of every arm: whether its training patients can be told from held-out ones."""

from collections.abc import Callable

import numpy as np
import torch

from cmrfed.attacks import ATTACKS, PatientSlices, membership_leakage
from cmrfed.config import LeakageConfig
from cmrfed.evaluation.subject import Progress, ProgressBar, Results, Subject, few_of_each
from cmrfed.generators import Draws, Generator
from cmrfed.training import autocast


def measure_leakage(subject: Subject, config: LeakageConfig, bar: ProgressBar) -> dict[str, Results]:
    """Scores by arm, for the arms whose generator is at hand."""
    found = {}
    for arm, made in subject.synthetic.items():
        if made.generator:
            with bar(f"membership inference, {arm}") as progress:
                found[arm] = _leakage(subject, made.load(), config, progress)
    return found


def _leakage(subject: Subject, generator: Generator, config: LeakageConfig, progress: Progress) -> Results:
    """Every attack on every patient; members and strangers meet the same times and noises."""
    few, others = (few_of_each(part, config.slices_per_patient) for part in (subject.train, subject.held_out))
    generator.to(subject.device).eval()
    members = subject.train.number_of_patients
    images, masks, conditions = (
        torch.cat(pair) for pair in zip(few.batch(range(len(few))), others.batch(range(len(others))), strict=True)
    )
    patients = torch.from_numpy(np.concatenate([few.patients, members + others.patients]))
    slices = PatientSlices(images, masks, conditions, patients)
    results = {}
    for name, attack in ATTACKS.items():
        scores = attack(
            _losses(generator, subject.device, subject.precision),
            slices,
            config.times,
            config.draws,
            subject.seed,
            device=subject.device,
            progress=progress,
        )
        results[name] = membership_leakage(scores[:members], scores[members:], subject.bootstrap, subject.seed)
    return results


def _losses(generator: Generator, device: torch.device, precision: str) -> Callable[..., torch.Tensor]:
    """The generator's loss as the attacks ask for it: given times and noises, conditions always kept."""

    def losses(
        images: torch.Tensor, masks: torch.Tensor, conditions: torch.Tensor, times: torch.Tensor, noises: torch.Tensor
    ) -> torch.Tensor:
        draws = Draws(times, noises, torch.ones(len(images), dtype=torch.bool, device=images.device))
        with autocast(device, precision):
            return generator.losses(images, masks, conditions, draws).float()

    return losses
