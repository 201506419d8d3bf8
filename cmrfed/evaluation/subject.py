"""What an evaluation is of: real patients, and the images that one or more generators made for real masks."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from cmrfed.config import SamplingConfig
from cmrfed.generators import Generator
from cmrfed.privacy import NoPrivacy, Plan
from cmrfed.slices import Slices
from cmrfed.updates import load_generator


@dataclass(frozen=True)
class Synthetic:
    """One generator's images: for held-out patients' masks (`shown`) and for training patients' masks (`learnt`).

    generator: the file of its weights; None when it is not at hand, as for images that somebody else made.
    paired: whether `shown` has an image for every mask of the subject's `shown`, in its order; else it is any images.
    start: the file of the weights that its training began with, where that is known. plan: what was promised of the
    generator; None where nothing was.
    """

    shown: Slices
    learnt: Slices
    generator: Path | None
    seconds_per_slice: float | None = None
    paired: bool = True
    start: Path | None = None
    plan: Plan = field(default_factory=NoPrivacy)

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
