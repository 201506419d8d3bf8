"""The second task of every arm: telling held-out patients' diseases from real images, as its segmenter sees them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sklearn.ensemble import RandomForestClassifier

from cmrfed.evaluation.schema import Disease, DiseaseScores
from cmrfed.evaluation.subject import Subject, Synthetic
from cmrfed.evaluation.utility.function import wholly_labelled
from cmrfed.evaluation.utility.metrics import (
    DiseaseFeatures,
    Outcome,
    disease_features,
    disease_forest,
    disease_probabilities,
    disease_scores,
    diseases_to_learn,
    diseases_to_tell,
    patients_with_both_phases,
)
from cmrfed.evaluation.utility.training_sets import SetKey, of_arm
from cmrfed.slices import Slices


@dataclass(frozen=True, eq=False)
class _Task:
    """Whom diseases are learnt from and told of. anatomy, tested: wholly labelled patients' slices; real: `anatomy`'s
    features with the brightness of its real images; classes: the diseases."""

    subject: Subject
    anatomy: Slices
    tested: Slices
    real: DiseaseFeatures
    classes: tuple[str, ...]

    def forest(self, *training: DiseaseFeatures) -> RandomForestClassifier:
        return disease_forest(training, self.classes, self.subject.seed)

    def scores(self, forest: RandomForestClassifier, seen: Sequence[DiseaseFeatures]) -> DiseaseScores:
        truth = [record.pathology for record in seen[0].patients]
        found = disease_probabilities(forest, seen)
        scores = disease_scores(found, truth, self.classes, self.subject.bootstrap, self.subject.seed)
        return DiseaseScores.model_validate(scores)

    def as_segmented(self, outcome: Outcome) -> list[DiseaseFeatures]:
        """What each of the segmenters sees of the tested patients."""
        parts = [one.subset(self.tested.patient_names) for one in outcome.segmented()]
        return [disease_features(part, part) for part in parts]


def measure_disease(subject: Subject, found: Mapping[SetKey, Outcome]) -> dict[str, Disease | str]:
    """By arm, how well diseases are told, or why not.

    A forest learns from training patients (their whole masks, and a set's images of them) and is tested on held-out
    patients' real images, segmented by the networks of the same set. Images whose masks are of nobody here stand for
    patients of their own.
    """
    anatomy = wholly_labelled(subject.train.labelled(), subject.train)
    tested = wholly_labelled(subject.held_out.labelled(), subject.held_out)
    classes = _diseases_of(anatomy)
    if len(diseases_to_tell([record.pathology for record in patients_with_both_phases(tested)], classes)) < 2:
        reason = "needs two diseases of three training patients and two held-out ones each, at both phases"
        return dict.fromkeys(subject.synthetic, reason)
    task = _Task(subject, anatomy, tested, disease_features(anatomy, subject.learnt), classes)
    forest = task.forest(task.real)
    real = task.scores(forest, task.as_segmented(found[None, "real"]))
    reader_masks = task.scores(forest, [disease_features(tested, tested)])
    return {arm: _of_arm(task, made, of_arm(found, arm), real, reader_masks) for arm, made in subject.synthetic.items()}


def _diseases_of(slices: Slices) -> tuple[str, ...]:
    return diseases_to_learn([record.pathology for record in patients_with_both_phases(slices)])


def _of_arm(
    task: _Task, made: Synthetic, outcomes: Mapping[str, Outcome], real: DiseaseScores, reader_masks: DiseaseScores
) -> Disease | str:
    anatomy = task.anatomy if made.paired else made.learnt
    known = _diseases_of(anatomy)
    if not set(task.classes) <= set(known):
        return f"the images are of {', '.join(known) or 'no'} disease; real patients have {', '.join(task.classes)}"
    synthetic = disease_features(anatomy, made.learnt)
    counts = Counter(record.pathology for record in task.real.patients)
    return Disease(
        real=real,
        reader_masks=reader_masks,
        synthetic=task.scores(task.forest(synthetic), task.as_segmented(outcomes["synthetic"])),
        mixed=task.scores(task.forest(task.real, synthetic), task.as_segmented(outcomes["mixed"])),
        training_patients={name: counts[name] for name in task.classes},
    )
