"""The second task: which disease a held-out patient has, told by a forest that learnt from an arm's training patients.

Random forests (Breiman, Machine Learning 2001) won the disease part of the ACDC challenge (Bernard et al., TMI 2018).
Scores weigh every class alike: balanced accuracy is the mean recall over classes, and the macro AUC the mean over
classes c of P(s_c(patient of c) > s_c(patient of another class)), ties counting half. Blind guessing has 1/classes and
1/2.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from sklearn.ensemble import RandomForestClassifier

from cmrfed.conditions import UNKNOWN
from cmrfed.evaluation.utility.metrics.disease_features import DiseaseFeatures
from cmrfed.statistics import percentile_interval

TREES = 200
FEWEST_PATIENTS = 3
"""Of a class, in training."""
FEWEST_TESTED = 2
"""Of a class, among those tested: the recall of a single patient has no interval."""
PERMUTATIONS = 2000

Probabilities = Float[np.ndarray, "patient class"]
Numbers = Int64[np.ndarray, " patient"]


def diseases_to_learn(training: Sequence[str]) -> tuple[str, ...]:
    """Pathologies with enough training patients, sorted; given one pathology a patient."""
    counts = Counter(training)
    return tuple(sorted(name for name, count in counts.items() if name != UNKNOWN and count >= FEWEST_PATIENTS))


def diseases_to_tell(tested: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Those of the learnt classes that enough tested patients have; given one pathology a patient."""
    counts = Counter(tested)
    return tuple(name for name in classes if counts[name] >= FEWEST_TESTED)


def disease_forest(training: Sequence[DiseaseFeatures], classes: Sequence[str], seed: int) -> RandomForestClassifier:
    """Learn from the patients of all parts who have one of the classes, each class weighing alike.

    A patient of whom a feature is missing goes where the training data say that those lacking it should.
    """
    values = np.concatenate([part.values for part in training])
    labels = np.array([record.pathology for part in training for record in part.patients])
    kept = np.isin(labels, classes)
    return RandomForestClassifier(TREES, class_weight="balanced", random_state=seed).fit(values[kept], labels[kept])


def disease_probabilities(forest: RandomForestClassifier, tested: Sequence[DiseaseFeatures]) -> Probabilities:
    """Of every tested patient, by class in alphabetical order: the mean over what repeated segmenters see."""
    return np.mean([forest.predict_proba(part.values) for part in tested], axis=0)


def disease_scores(
    probabilities: Probabilities,
    pathologies: Sequence[str],
    classes: Sequence[str],
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Balanced accuracy and macro AUC over the tested patients of the classes; those of others, and of classes of fewer
    than `FEWEST_TESTED` tested patients, are left out.

    classes: in alphabetical order, as a forest has them. Intervals are bootstrapped over patients within each class, so
    that no replicate loses one. `p` is the share of random assignments of these patients' diseases that are predicted
    as well. Returns {"balanced_accuracy", "macro_auc": {"value", "ci95", "chance"}, "p", "patients": {class: count},
    "left_out", "confusion": {disease: {prediction: patients}}}. Raises ValueError when fewer than two classes are
    tested.
    """
    known = np.isin(pathologies, diseases_to_tell(pathologies, classes))
    truth = np.array([classes.index(name) for name in np.array(pathologies)[known]], dtype=np.int64)
    if len(np.unique(truth)) < 2:
        raise ValueError(f"a disease is told from another, found {len(np.unique(truth))} among those tested")
    shown = probabilities[known]
    weights = _weights(truth, replicates, np.random.default_rng(seed))
    once = np.ones((1, len(truth)))
    chance = {"balanced_accuracy": 1 / len(classes), "macro_auc": 0.5}
    measured = {"balanced_accuracy": _balanced_accuracy, "macro_auc": _macro_auc}
    return {
        **{
            name: {
                "value": float(score(shown, truth, once)[0]),
                "ci95": percentile_interval(score(shown, truth, weights)),
                "chance": chance[name],
            }
            for name, score in measured.items()
        },
        "p": _permutation_p(shown, truth, seed),
        "patients": {classes[number]: int((truth == number).sum()) for number in np.unique(truth)},
        "left_out": int((~known).sum()),
        "confusion": _confusion(shown.argmax(axis=1), truth, classes),
    }


def _weights(truth: Numbers, replicates: int, random: np.random.Generator) -> Float[np.ndarray, "replicate patient"]:
    """How often each patient is drawn in each replicate, as many of every class as there are."""
    weights = np.zeros((replicates, len(truth)))
    for number in np.unique(truth):
        own = np.flatnonzero(truth == number)
        weights[:, own] = random.multinomial(len(own), np.full(len(own), 1 / len(own)), size=replicates)
    return weights


def _balanced_accuracy(
    shown: Probabilities, truth: Numbers, weights: Float[np.ndarray, "replicate patient"]
) -> Float[np.ndarray, " replicate"]:
    right = weights * (shown.argmax(axis=1) == truth)
    of_classes = [
        right[:, truth == number].sum(axis=1) / weights[:, truth == number].sum(axis=1) for number in np.unique(truth)
    ]
    return np.mean(of_classes, axis=0)


def _macro_auc(
    shown: Probabilities, truth: Numbers, weights: Float[np.ndarray, "replicate patient"]
) -> Float[np.ndarray, " replicate"]:
    of_classes = []
    for number in np.unique(truth):
        own, others = truth == number, truth != number
        above = shown[own, number][:, None] - shown[others, number]
        wins = (np.sign(above) + 1) / 2
        pairs = weights[:, own].sum(axis=1) * weights[:, others].sum(axis=1)
        of_classes.append(np.einsum("ro,op,rp->r", weights[:, own], wins, weights[:, others], optimize=True) / pairs)
    return np.mean(of_classes, axis=0)


def _permutation_p(shown: Probabilities, truth: Numbers, seed: int) -> float:
    """(1 + permutations at least as accurate) / (1 + permutations), which never is 0 (Phipson & Smyth, 2010)."""
    random, predicted = np.random.default_rng(seed), shown.argmax(axis=1)
    dealt = random.permuted(np.tile(truth, (PERMUTATIONS, 1)), axis=1)

    def accuracy(labels: Int64[np.ndarray, "deal patient"]) -> Float[np.ndarray, " deal"]:
        numbers = np.unique(truth)
        return np.mean([(labels == n)[:, predicted == n].sum(axis=1) / (truth == n).sum() for n in numbers], axis=0)

    as_good = accuracy(dealt) >= accuracy(truth[None]) - 1e-12
    return float((1 + as_good.sum()) / (1 + PERMUTATIONS))


def _confusion(predicted: Numbers, truth: Numbers, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    return {
        classes[row]: {name: int(((truth == row) & (predicted == column)).sum()) for column, name in enumerate(classes)}
        for row in np.unique(truth)
    }
