"""Distances of sets of images in every feature space."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from cmrfed.config import FidelityConfig
from cmrfed.core.progress import Progress, ProgressBar, shifted
from cmrfed.evaluation.fidelity.metrics import (
    EXTRACTORS,
    ByArm,
    PatientFeatures,
    extract_features,
    feature_likelihood,
    frechet_distance,
    in_units_of,
    inception_score,
    logits_of,
    scores_beside_floor,
    set_distances,
)
from cmrfed.evaluation.fidelity.metrics.networks.cardiac import encoder_weights
from cmrfed.evaluation.fidelity.reconstruction import reconstructed
from cmrfed.evaluation.fidelity.sets import Compared, Unseen, images_of, unseen
from cmrfed.evaluation.subject import Subject
from cmrfed.slices import Slices

Features = torch.Tensor


def measure_spaces(sets: Compared, config: FidelityConfig, bar: ProgressBar) -> dict[str, ByArm]:
    """Scores by arm, space and name; reconstructions are in the first space alone."""
    found: dict[str, ByArm] = {arm: {} for arm in sets.made}
    for number, name in enumerate(config.spaces):
        restored = reconstructed(sets, bar) if config.reconstruct and number == 0 else {}
        space = FeatureSpace(name, _weights(name, config, sets.subject, bar), sets.subject)
        for arm, scores in _measure(space, sets, restored, bar).items():
            found[arm][name] = scores
    return found


@dataclass(frozen=True)
class FeatureSpace:
    """A feature space by name, with the file of its weights where it is not the one that comes with it."""

    name: str
    weights: str | None
    subject: Subject

    def features(self, sets: dict[str, Slices], bar: ProgressBar) -> dict[str, PatientFeatures]:
        """Features of each set, in units of the test set's spread where the space asks for that."""
        total, found = sum(map(len, sets.values())), dict[str, PatientFeatures]()
        with bar(f"features of images, {self.name}") as progress:
            for name, slices in sets.items():
                before = sum(map(len, found.values()))
                features = extract_features(
                    images_of(slices),
                    self.name,
                    self.weights,
                    device=self.subject.device,
                    progress=shifted(progress, before, total),
                    cache=self.subject.cache,
                )
                found[name] = PatientFeatures(features, torch.from_numpy(slices.patients))
        return in_units_of(found["test"], found) if EXTRACTORS[self.name].standardise else found


def _weights(name: str, config: FidelityConfig, subject: Subject, bar: ProgressBar) -> str | None:
    if name == "cardiac" and name not in config.weights:
        with bar("cardiac encoder, unless cached") as progress:
            return str(encoder_weights(progress, device=subject.device))
    return config.weights.get(name)


def _measure(space: FeatureSpace, sets: Compared, restored: dict[str, Slices], bar: ProgressBar) -> ByArm:
    """All scores of one space by arm."""
    rest = unseen(sets)
    wanted = {"test": sets.test, "reference": sets.reference}
    wanted |= {f"made {arm}": made for arm, made in sets.made.items()}
    wanted |= {f"restored {arm}": made for arm, made in restored.items()}
    wanted |= rest.slices() if rest else {}
    features = space.features(wanted, bar)
    with bar(f"distances, {space.name}") as progress:
        made = {arm: features[f"made {arm}"] for arm in sets.made}
        statistics = partial(_statistics, logits_of(space.name, space.weights))
        fixed = (features["reference"], features["test"])
        found = scores_beside_floor(statistics, made, *fixed, seed=sets.subject.seed, progress=progress)
    if restored:
        again = {arm: features[f"restored {arm}"] for arm in restored}
        _merge(found, scores_beside_floor(_reconstruction, again, *fixed, seed=sets.subject.seed))
    if rest:
        with bar(f"likelihoods, {space.name}") as progress:
            _merge(found, _likelihoods(rest, features, sets.subject.seed, progress))
    return found


def _statistics(logits: Callable[[Features], Features] | None, made: Features, real: Features) -> dict[str, float]:
    """Everything that two sets of features alone can tell."""
    score = {"inception_score": inception_score(logits(made))} if logits and len(made) else {}
    return set_distances(made, real) | score


def _reconstruction(restored: Features, real: Features) -> dict[str, float]:
    few = min(len(restored), len(real)) < 2
    return {"reconstruction_fid": float("nan") if few else frechet_distance(restored, real)}


def _likelihoods(rest: Unseen, features: dict[str, PatientFeatures], seed: int, progress: Progress) -> ByArm:
    """FLD and its gap, with the other real patients as both the measure and the floor."""
    others = features["reference"].take(rest.others)
    made = {arm: rest.mixed(arm, features, seed) for arm in rest.arms}
    return scores_beside_floor(
        _likelihood, made, others, features["train"], features["test"], others, seed=seed, progress=progress
    )


def _likelihood(made: Features, train: Features, test: Features, others: Features) -> dict[str, float]:
    if min(map(len, (made, train, test, others))) < 2:  # of one image no feature varies
        return dict.fromkeys(("fld", "fld_gap"), float("nan"))
    fld, gap = feature_likelihood(made, train, test, others)
    return {"fld": fld, "fld_gap": gap}


def _merge(into: ByArm, more: ByArm) -> None:
    for arm, scores in more.items():
        into[arm] |= scores
