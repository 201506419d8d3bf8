"""What a vendor or a data set costs that the real training images lack, and what synthetic images of it give back."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from cmrfed.conditions import UNKNOWN, VENDORS
from cmrfed.config import UtilityConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.schema import LeftOut
from cmrfed.evaluation.subject import Subject, thin
from cmrfed.evaluation.utility.metrics import (
    METRICS,
    GroupScores,
    Outcome,
    StackScores,
    TrainingSet,
    compare_training_sets,
    group_drops,
    means,
    values_of,
)
from cmrfed.evaluation.utility.training_sets import budget_of, drawn, where, with_vendor
from cmrfed.slices import Slices

FIELDS = {"leave_one_vendor_out": "vendor", "translation": "vendor", "cross_dataset": "dataset"}
"""What is left out by each protocol."""

LeftOutKey = tuple[str, str, str | None, str | None]
"""(field, group, protocol, arm) of a training set; the last two are None for real images of the other groups alone."""


def measure_left_out(
    subject: Subject, config: UtilityConfig, real: Outcome, bar: ProgressBar
) -> dict[str, dict[str, LeftOut | str]]:
    """By arm, every protocol's `group_drops` of mean Dice and all scores of its networks, or why there are none.

    real: what the network trained on real images of every group made of the held-out patients.
    """
    if not config.protocols:
        return {}
    sets = dict(training_sets_without(subject, config, real.tested, bar))
    tested = {key: where(real.tested, key[0], key[1]) for key in sets}
    with bar("training segmenters, left out") as progress:
        found = compare_training_sets(sets, tested, budget_of(subject, config, config.backbones[0]), progress)
    scores = {key: outcome.scores for key, outcome in found.items()}
    return {
        arm: {protocol: _drops(scores, protocol, arm, real.scores, subject) for protocol in config.protocols}
        for arm in subject.synthetic
    }


def training_sets_without(
    subject: Subject, config: UtilityConfig, tested: Slices, bar: ProgressBar
) -> Iterator[tuple[LeftOutKey, TrainingSet]]:
    """Real images of all groups but one, alone and with each arm's images of the missing one, for every protocol."""
    for field in sorted({FIELDS[protocol] for protocol in config.protocols}):
        protocols = [protocol for protocol in config.protocols if FIELDS[protocol] == field]
        for group in groups_of(subject.learnt, tested, field):
            others = where(subject.learnt, field, group, equal=False)
            yield (field, group, None, None), TrainingSet((others,))
            for protocol, arm in product(protocols, subject.synthetic):
                images = _images(subject, protocol, arm, field, group, bar)
                if images is not None and len(images):
                    yield (field, group, protocol, arm), TrainingSet((others, images))


def groups_of(learnt: Slices, tested: Slices, field: str) -> list[str]:
    """The groups that are tested and learnt from, where others are learnt from too."""
    of_learnt, of_tested = ({getattr(record, field) for record in slices.records} for slices in (learnt, tested))
    return sorted((of_learnt & of_tested) - {UNKNOWN}) if len(of_learnt) > 1 else []


def _images(subject: Subject, protocol: str, arm: str, field: str, group: str, bar: ProgressBar) -> Slices | None:
    """The arm's images of the missing group; None where it cannot draw them."""
    made = subject.synthetic[arm]
    if protocol != "translation":
        return where(made.learnt, field, group)
    if made.generator is None or group not in VENDORS:
        return None
    others = where(subject.learnt, field, group, equal=False)
    as_many = thin(others, len(where(subject.learnt, field, group)), subject.seed)
    return drawn(subject, arm, made, with_vendor(as_many, VENDORS.index(group)), subject.seed, bar)


def _drops(
    scores: dict[LeftOutKey, StackScores], protocol: str, arm: str, real: StackScores, subject: Subject
) -> LeftOut | str:
    field = FIELDS[protocol]
    helped = {key[1]: of for key, of in scores.items() if key[0] == field and key[2:] == (protocol, arm)}
    if not helped:
        return f"needs training and held-out patients of two {field}s or more, and images of them by this arm"
    inside = np.array(values_of(real, field))
    networks = {
        group: {"seen": real.only(inside == group), "unseen": scores[field, group, None, None], "helped": of}
        for group, of in helped.items()
    }
    groups = {
        group: GroupScores(**{name: of.by_patient("dice")[:, -1] for name, of in those.items()})
        for group, those in networks.items()
    }
    found = group_drops(groups, subject.bootstrap, subject.seed)
    for group, those in networks.items():
        found["groups"][group]["scores"] = {
            name: means(of, tuple(METRICS), subject.bootstrap, subject.seed) for name, of in those.items()
        }
    return LeftOut.model_validate(found)
