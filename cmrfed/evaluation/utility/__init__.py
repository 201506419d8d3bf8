"""Utility of every arm: segmenters that learnt from synthetic images for training masks, tested on held-out patients.

Synthetic images for the test patients' own masks would carry their shapes into training. What an arm's results hold
(`evaluation.schema.Utility`), and what makes it:

| key | what it is |
| --- | --- |
| real, synthetic, mixed | `summarise` of a segmenter trained on real images, on synthetic ones, on as many of both |
| mixed_0.25x, ... | the same with that many synthetic images to a real one (`ratios`) |
| blind | the same of one mask for every slice, which looks at no image (`metrics.blind`) |
| over_blind | by how much real, synthetic and mixed are above it (`over_blind`) |
| real_augmented | real images alone under strong classical augmentation (`augmented`) |
| ...: function | bias and limits of agreement of EDV, ESV, EF and mass with the reader's (`function_agreement`) |
| tests | paired tests between these sets over the same patients, corrected (`paired_tests`) |
| leave_one_vendor_out | what an unseen vendor costs, and what the arm's images of it give back (`group_drops`) |
| translation | the same with the vendor's images drawn for the other vendors' masks: style alone |
| cross_dataset | the same for an unseen data set |
| disease | a classifier of diseases as the second task (`disease_scores`) |
| backbones | real, synthetic, mixed and tests again, for every further network |

The networks trained on real images alone are trained once for all arms.
"""

from collections.abc import Mapping
from typing import Any

from cmrfed.config import UserError, UtilityConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.schema import Disease, LeftOut, SegmenterComparison, SegmenterScores, Utility
from cmrfed.evaluation.subject import Subject
from cmrfed.evaluation.utility.disease import measure_disease
from cmrfed.evaluation.utility.function import function_agreement
from cmrfed.evaluation.utility.left_out import measure_left_out
from cmrfed.evaluation.utility.metrics import (
    BACKBONES,
    Outcome,
    TrainingSet,
    blind_masks,
    compare_training_sets,
    over_blind,
    paired_tests,
    summarise,
)
from cmrfed.evaluation.utility.training_sets import CORE, SetKey, budget_of, of_arm, training_sets
from cmrfed.slices import Slices

__all__ = ["measure_utility"]

BASELINE = "epsilon_0"
"""The arm that saw no private data; the synthetic images of the others are tested against its."""

VOID = (
    "trained on real images the segmenter does no better than one and the same mask in every slice, so that nothing "
    "can be compared with it"
)

Outcomes = dict[SetKey, Outcome]
Tasks = Mapping[str, LeftOut | Disease | str]
"""Results by key, or why there are none."""


def measure_utility(subject: Subject, config: UtilityConfig, bar: ProgressBar) -> dict[str, Utility]:
    """By arm. Empty when nothing is labelled to learn from, or fewer than two held-out patients are: a single
    one has no interval. Raises UserError when a network cannot take slices of this size."""
    tested = subject.held_out.labelled()
    if not len(subject.learnt) or tested.number_of_patients < 2:
        return {}
    _check_size(tested, config)
    sets, absent = training_sets(subject, config, bar)
    found = {backbone: _trained(sets, backbone, tested, subject, config, bar) for backbone in config.backbones}
    first, *others = config.backbones
    comparisons = {backbone: _by_arm(of, subject, config) for backbone, of in found.items()}
    blind = Outcome.of(tested, (blind_masks(subject.learnt, tested),))
    tasks = _other_tasks(found[first], subject, config, bar)
    return {
        arm: Utility.model_validate(
            {
                **comparisons[first][arm].plain(),
                **_beside_blind(of_arm(found[first], arm), blind, subject),
                **({"backbones": {backbone: comparisons[backbone][arm] for backbone in others}} if others else {}),
                **_or_why({**absent.get(arm, {}), **tasks[arm]}),
            }
        )
        for arm in subject.synthetic
    }


def _other_tasks(found: Outcomes, subject: Subject, config: UtilityConfig, bar: ProgressBar) -> dict[str, Tasks]:
    """What is asked of the first network's segmenters beside the hearts of all patients, by arm."""
    left_out = measure_left_out(subject, config, found[None, "real"], bar)
    disease = measure_disease(subject, found) if config.disease else {}
    return {
        arm: {**left_out.get(arm, {}), **({"disease": disease[arm]} if disease else {})} for arm in subject.synthetic
    }


def _or_why(parts: Tasks) -> dict[str, object]:
    """What was found, and under "not_measured" the reasons that stand in the place of what was not."""
    reasons = {name: part for name, part in parts.items() if isinstance(part, str)}
    found = {name: part for name, part in parts.items() if name not in reasons}
    return {**found, **({"not_measured": reasons} if reasons else {})}


def _check_size(tested: Slices, config: UtilityConfig) -> None:
    side = tested.images.shape[1]
    for backbone in config.backbones:
        if side % BACKBONES[backbone].multiple:
            raise UserError(
                f"evaluation.utility.backbones: {backbone} takes slices whose sides are multiples of "
                f"{BACKBONES[backbone].multiple}, found {side}; leave it out, or set preprocessing.size"
            )


def _trained(
    sets: Mapping[SetKey, TrainingSet],
    backbone: str,
    tested: Slices,
    subject: Subject,
    config: UtilityConfig,
    bar: ProgressBar,
) -> Outcomes:
    """What networks of this backbone made of the tested slices; further backbones learn the core sets alone."""
    wanted = {key: one for key, one in sets.items() if backbone == config.backbones[0] or key[1] in CORE}
    with bar(f"training segmenters, {backbone}") as progress:
        return compare_training_sets(wanted, tested, budget_of(subject, config, backbone), progress)


def _by_arm(found: Outcomes, subject: Subject, config: UtilityConfig) -> dict[str, SegmenterComparison]:
    """Every arm's scores by training set, and the tests between them."""
    scores = {
        key: SegmenterScores.model_validate(
            {
                **summarise(outcome.scores, subject.bootstrap, subject.seed),
                "function": function_agreement(outcome, subject.held_out),
            }
        )
        for key, outcome in found.items()
    }
    return {
        arm: SegmenterComparison.model_validate({**of_arm(scores, arm), "tests": _tests(found, arm, subject, config)})
        for arm in subject.synthetic
    }


def _beside_blind(found: Mapping[str, Outcome], blind: Outcome, subject: Subject) -> dict[str, object]:
    """What an arm's results must be read against: a mask that looks at no image, on the same patients."""
    gains = {name: over_blind(found[name].scores, blind.scores, subject.bootstrap, subject.seed) for name in CORE}
    return {
        "blind": summarise(blind.scores, subject.bootstrap, subject.seed),
        "over_blind": gains,
        "void": None if gains["real"]["beats_blind"] else VOID,
    }


def _tests(found: Outcomes, arm: str, subject: Subject, config: UtilityConfig) -> list[dict[str, Any]]:
    """Every set against real images, mixed against what augmentation gives, and synthetic against the start's."""
    scores = {name: outcome.scores for name, outcome in of_arm(found, arm).items()}
    pairs = [(name, "real") for name in scores if name != "real"]
    if "real_augmented" in scores:
        pairs.append(("mixed", "real_augmented"))
    if arm != BASELINE and (BASELINE, "synthetic") in found:
        scores[f"{BASELINE}/synthetic"] = found[BASELINE, "synthetic"].scores
        pairs.append(("synthetic", f"{BASELINE}/synthetic"))
    return paired_tests(scores, pairs, config.margin, subject.bootstrap, subject.seed)
