"""The sets of slices that are compared: held-out patients, as many slices of others, and what each arm drew."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64

from cmrfed.evaluation.fidelity.metrics import PatientFeatures
from cmrfed.evaluation.subject import Subject
from cmrfed.shapes import Image, Mask, structures_of
from cmrfed.slices import Slices


@dataclass(frozen=True)
class Compared:
    """test: held-out slices. reference: other real patients' slices, as many of each vendor. made: by arm."""

    subject: Subject
    test: Slices
    reference: Slices
    made: dict[str, Slices]

    @property
    def images(self) -> int:
        """How many of each are compared."""
        return min(map(len, (self.test, self.reference, *self.made.values())))

    @property
    def paired(self) -> dict[str, Slices]:
        """The arms whose images are of the test masks, in the same order."""
        return {arm: made for arm, made in self.made.items() if self.subject.synthetic[arm].paired}


def compared(subject: Subject) -> Compared:
    """The sets of a subject."""
    made = {arm: own.shown for arm, own in subject.synthetic.items()}
    return Compared(subject, subject.shown, matched(subject.train, subject.shown, subject.seed), made)


def matched(train: Slices, shown: Slices, seed: int) -> Slices:
    """Training slices with the test set's number of slices from each vendor, as far as there are so many."""
    random, vendors = np.random.default_rng(seed), train.conditions["vendor"]
    rows = []
    for vendor, count in zip(*np.unique(shown.conditions["vendor"], return_counts=True), strict=True):
        own = np.flatnonzero(vendors == vendor)
        rows.append(random.permutation(own)[:count])
    return train.take(np.sort(np.concatenate(rows)))


def images_of(slices: Slices) -> Image:
    """On the CPU."""
    return torch.from_numpy(np.array(slices.images))[:, None]  # a copy: what is read from disk may not be written to


def outlines_of(slices: Slices) -> Mask:
    """Labels of the ventricles and the myocardium alone, on the CPU."""
    return structures_of(torch.from_numpy(np.array(slices.masks)).long())


@dataclass(frozen=True)
class Unseen:
    """What tells images that generalise from images that repeat the training set.

    train: slices of a half of the training patients. drawn: what each arm drew for their masks; nothing for an arm
    whose images are of nobody's masks. others: rows of the reference that are of the other half.
    """

    train: Slices
    drawn: dict[str, Slices]
    others: Int64[np.ndarray, " row"]
    arms: tuple[str, ...]

    def slices(self) -> dict[str, Slices]:
        """The sets whose features are needed besides those of `Compared`."""
        return {"train": self.train} | {f"drawn {arm}": slices for arm, slices in self.drawn.items()}

    def mixed(self, arm: str, features: dict[str, PatientFeatures], seed: int) -> PatientFeatures:
        """An arm's images, as many for masks of training patients as for those of held-out ones: an image resembles
        that of its mask, which must not look like memory, nor hide it."""
        shown = features[f"made {arm}"]
        if arm not in self.drawn:
            return shown
        drawn = features[f"drawn {arm}"]
        half = min(len(shown), len(drawn))
        parts = [side.thin(half, seed) for side in (shown, drawn)]
        patients = [parts[0].patients, parts[1].patients + 1 + int(shown.patients.max())]
        return PatientFeatures(torch.cat([part.features for part in parts]), torch.cat(patients))


def unseen(sets: Compared) -> Unseen | None:
    """None where too few masks of training patients were drawn for to tell."""
    subject, half = sets.subject, len(sets.test) // 2
    names = np.random.default_rng(subject.seed).permutation(sorted(set(subject.learnt.patient_names)))
    chosen = set(names[: len(names) // 2].tolist())
    others = np.flatnonzero([name not in chosen for name in _owners(sets.reference)])
    rows = np.flatnonzero([name in chosen for name in _owners(subject.learnt)])
    rows = np.sort(np.random.default_rng(subject.seed).permutation(rows)[:half])
    train = subject.learnt.take(rows)
    if min(train.number_of_patients, sets.reference.take(others).number_of_patients, sets.test.number_of_patients) < 2:
        return None
    synthetic = subject.synthetic
    drawn = {arm: own.learnt.take(rows) for arm, own in synthetic.items() if own.paired}
    return Unseen(train, drawn, others, tuple(synthetic))


def _owners(slices: Slices) -> list[str]:
    """The name of the patient of each slice."""
    return [slices.patient_names[patient] for patient in slices.patients]
