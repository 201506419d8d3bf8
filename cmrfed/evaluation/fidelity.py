"""Fidelity of every arm: synthetic images for held-out masks against the held-out images of the same masks."""

import numpy as np
import torch

from cmrfed.config import FidelityConfig
from cmrfed.evaluation.subject import ProgressBar, Results, Subject, shifted
from cmrfed.fidelity import PatientFeatures, extract_features, fidelity_scores
from cmrfed.slices import Slices


def measure_fidelity(subject: Subject, config: FidelityConfig, bar: ProgressBar) -> dict[str, Results]:
    """Scores by arm. The real reference, as large as the test set, has its mix of vendors."""
    sets = {"test": subject.shown, "reference": matched(subject.train, subject.shown, subject.seed)}
    sets |= {arm: made.shown for arm, made in subject.synthetic.items()}
    total, features = sum(map(len, sets.values())), dict[str, PatientFeatures]()
    (space,) = config.spaces
    with bar("features of images") as progress:
        for name, slices in sets.items():
            before = sum(len(done.patients) for done in features.values())
            found = extract_features(
                torch.from_numpy(np.asarray(slices.images))[:, None],
                space,
                config.weights.get(space),
                device=subject.device,
                progress=shifted(progress, before, total),
                cache=subject.cache,
            )
            features[name] = PatientFeatures(found, torch.from_numpy(slices.patients))
    return {
        arm: {**fidelity_scores(features["reference"], features["test"], features[arm], subject.seed)}
        for arm in subject.synthetic
    }


def matched(train: Slices, shown: Slices, seed: int) -> Slices:
    """Training slices with the test set's number of slices from each vendor, as far as there are so many."""
    random, vendors = np.random.default_rng(seed), train.conditions[:, 0]
    rows = []
    for vendor, count in zip(*np.unique(shown.conditions[:, 0], return_counts=True), strict=True):
        own = np.flatnonzero(vendors == vendor)
        rows.append(random.permutation(own)[:count])
    return train.take(np.sort(np.concatenate(rows)))
