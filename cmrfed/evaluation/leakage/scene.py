"""Who is attacked, on which slices, and what attackers have: the same for all arms of a run, and at a site."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from cmrfed.config import LeakageConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.fidelity.metrics import extract_features
from cmrfed.evaluation.leakage.attacks import (
    ATTACKS,
    NOBODY,
    Answers,
    Candidates,
    Evidence,
    PatientSlices,
    Points,
    Probe,
    blind_statistics,
    fitted_scores,
    halves,
    train_shadows,
)
from cmrfed.evaluation.subject import Subject, Synthetic, few_of_each, thin
from cmrfed.generators import Denoiser, Generator
from cmrfed.slices import Slices, concatenate
from cmrfed.stacks import Stacks
from cmrfed.updates import load_weights, write_weights

_ENCODED_AT_ONCE = 64
"""Images."""
_BY_FEATURES = 150
"""Synthetic images of each arm that are compared by features: their cost is a network's."""


@dataclass(frozen=True)
class Scene:
    """What is the same for all arms: who is scored, on which slices, and what they look like to the blind."""

    subject: Subject
    config: LeakageConfig
    _trained: dict[str, tuple[np.ndarray, Answers]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def few(self) -> Slices:
        """The slices that are scored, members' before non-members'."""
        train, most = self.subject.train, self.config.most_members
        if 0 < most < train.number_of_patients:
            names = np.random.default_rng(self.subject.seed).permutation(train.patient_names)[:most]
            train = train.subset(map(str, names))
        parts = [few_of_each(part, self.config.slices_per_patient) for part in (train, self.subject.held_out)]
        return concatenate(parts)

    @cached_property
    def candidates(self) -> Candidates:
        trained = set(self.subject.train.patient_names)
        members, others = (
            [one for one in self.few.records if (one.patient in trained) is side] for side in (True, False)
        )
        return Candidates.of(members, others, self.subject.seed)

    @cached_property
    def slices(self) -> PatientSlices:
        return patient_slices(self.few)

    @cached_property
    def blind(self) -> np.ndarray | None:
        """The blind baseline's scores; None where nobody calibrates."""
        if not self.candidates.calibrates:
            return None
        return fitted_scores(blind_statistics(self.slices), self.candidates.member, self.candidates.calibration)

    def wants(self, name: str) -> bool:
        """Whether an attack is asked for."""
        return self.config.attacks is None or name in self.config.attacks

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in ATTACKS if self.wants(name))

    def numbers(self, slices: Slices) -> np.ndarray:
        """For each slice, the number of its patient among those who are scored; later numbers for others, and NOBODY
        for patients who are in no set of real images."""
        known = [*self.few.patient_names, *self.subject.train.patient_names, *self.subject.held_out.patient_names]
        number = {name: place for place, name in enumerate(dict.fromkeys(known))}
        return np.array([number.get(name, NOBODY) for name in slices.patient_names])[slices.patients]

    def probe(self, generator: Generator) -> Probe | None:
        """What attacks ask of the generator at any noise; None of one that has no noise view."""
        if not isinstance(generator, Denoiser):
            return None
        config, subject = self.config, self.subject
        return Probe(
            generator, self._samples(generator), config.times, config.draws, config.inversion_steps, subject.seed,
            device=subject.device, precision=subject.precision,
        )  # fmt: skip

    def _samples(self, generator: Denoiser) -> PatientSlices:
        """The slices that are scored, or the stacks that they make up for a generator of stacks; as latents."""
        levels = generator.config.levels
        found = self.slices if levels == 1 else patient_slices(Stacks(self.few, levels))
        device, starts = self.subject.device, range(0, len(found.images), _ENCODED_AT_ONCE)
        generator.to(device)
        with torch.no_grad():
            parts = [
                generator.encoded(found.batch.rows(start, start + _ENCODED_AT_ONCE).to(device)) for start in starts
            ]
        return replace(found, batch=found.batch._replace(images=torch.cat(parts).to(found.images)))

    @cached_property
    def archive(self) -> Points:
        """The pixels of every real image, left where they lie."""
        return Points.joined([self.points(part, "pixels") for part in (self.subject.train, self.subject.held_out)])

    def shadows(self, made: Synthetic, start: Path, bar: ProgressBar) -> tuple[np.ndarray, Answers]:
        """(Who each shadow saw, what they answer); arms with the same start have the same shadows."""
        key = hashlib.sha256(start.read_bytes()).hexdigest()
        if key not in self._trained:
            config, subject = self.config, self.subject
            trained_on = halves(self.few.number_of_patients, config.shadow_models, subject.seed)
            fresh = partial(_fresh, made, start)
            found = train_shadows(
                fresh, self.few, trained_on, config.shadow_steps, subject.seed, subject.device, subject.precision
            )
            with bar("training shadow models") as progress:
                answers = []
                for shadow in found:
                    probe = self.probe(shadow)
                    assert probe, "shadows are trained for targets with a noise view, and are of their family"
                    answers.append(self.answers(probe))
                    progress(len(answers), config.shadow_models)
            self._trained[key] = trained_on, Answers.stacked(answers)
        return self._trained[key]

    def answers(self, probe: Probe) -> Answers:
        """What a target or a shadow is asked: of gradients only where an attack on shadows reads them."""
        return Answers.of(probe, gradients=self.wants("gradient_shadow"))

    def shown(self, slices: Slices, space: Evidence) -> Slices:
        """As many of these as are compared in a space; the same rows of equally long sets."""
        return slices if space == "pixels" else thin(slices, _BY_FEATURES, self.subject.seed)

    def points(self, slices: Slices, space: Evidence) -> Points:
        """Slices as points: their pixels, left where they lie, or their features."""
        if space == "pixels":
            return Points((slices.images,), self.numbers(slices))
        images = torch.from_numpy(np.array(slices.images))[:, None]
        found = extract_features(
            images, str(self.config.feature_space), device=self.subject.device, cache=self.subject.cache
        )
        return Points((found.numpy(),), self.numbers(slices))


def _fresh(made: Synthetic, start: Path) -> Generator:
    """The arm's generator as it was before it saw anybody."""
    generator = made.load()
    write_weights(generator, load_weights(start)[0])
    return generator


def patient_slices(slices: Slices | Stacks) -> PatientSlices:
    """Slices, or stacks, as attacks take them."""
    return PatientSlices(slices.batch(range(len(slices))), torch.from_numpy(slices.patients))
