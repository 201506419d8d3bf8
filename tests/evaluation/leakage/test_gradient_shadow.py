"""Boosted trees on shadows' gradients find members by what membership did to the shadows, and nobody else."""

from dataclasses import replace

import numpy as np
import pytest

from cmrfed.evaluation.leakage.attacks import ATTACKS, Answers, Shadows, halves
from cmrfed.evaluation.leakage.attacks.areas import auc

LAYERS, MEMBERS, PATIENTS, MODELS = 30, 30, 60, 4
scores = ATTACKS["gradient_shadow"].scores


def evidence(seed, effect, shadows_effect=1.0):
    """Patients who differ in difficulty, under models whose layers differ in scale; of members the norms of every
    third layer are smaller, by `effect` under the target."""
    random = np.random.default_rng(seed)
    difficulty, hit = random.normal(0, 1, (PATIENTS, 1)), np.arange(LAYERS) % 3 == 0

    def logs(member, effect):
        scale, noise = random.normal(0, 3, LAYERS), random.normal(0, 0.2, (PATIENTS, LAYERS))
        return scale + difficulty + noise - effect * member[:, None] * hit

    trained_on = halves(PATIENTS, MODELS, seed)
    target = logs(np.arange(PATIENTS) < MEMBERS, effect)
    known = np.array([logs(one, shadows_effect) for one in trained_on])
    losses = np.zeros(PATIENTS)
    return Shadows(
        Answers(losses, target), Answers(np.zeros((MODELS, PATIENTS)), known), trained_on, np.zeros(PATIENTS, bool)
    )


def area(shadows):
    found = scores(shadows)
    return auc(found[:MEMBERS], found[MEMBERS:])


def with_gradients(shadows, gradients):
    return replace(shadows, target=replace(shadows.target, gradients=gradients))


def test_members_are_found_whom_difficulty_hides_from_the_norm():
    shadows = [evidence(seed, effect=1.0) for seed in range(3)]
    norms = [-np.exp(one.target.gradients).sum(axis=1) for one in shadows]
    assert all(area(one) > 0.9 for one in shadows)
    assert np.mean([auc(one[:MEMBERS], one[MEMBERS:]) for one in norms]) < 0.75


def test_a_target_that_saw_none_of_them_gives_nobody_away():
    areas = [area(evidence(seed, effect=0.0)) for seed in range(12)]
    assert abs(np.mean(areas) - 0.5) < 3 * 0.075 / len(areas) ** 0.5


def test_being_in_the_shadows_tells_nothing_of_being_in_the_target():
    """Shadows that learnt nothing either, of patients who are each easy to recognise: the trees fit, and to noise."""
    areas = [area(evidence(seed, effect=0.0, shadows_effect=0.0)) for seed in range(12)]
    assert abs(np.mean(areas) - 0.5) < 3 * 0.075 / len(areas) ** 0.5


def test_how_long_or_noisily_a_model_was_trained_does_not_matter():
    """Another scale of a layer's gradients is another constant in their logarithms."""
    shadows = evidence(0, effect=1.0)
    logs = shadows.target.gradients
    rescaled = with_gradients(shadows, logs + np.linspace(-4, 4, LAYERS))
    np.testing.assert_allclose(scores(rescaled), scores(shadows))
    moved = shadows.shadows.gradients + np.arange(MODELS)[:, None, None]
    np.testing.assert_allclose(
        scores(replace(shadows, shadows=replace(shadows.shadows, gradients=moved))), scores(shadows)
    )


def test_scores_follow_the_patients_gradients_and_no_label_of_theirs():
    """Patients in another order have their scores in that order, and whom RMIA takes for strangers is not read."""
    shadows, order = evidence(0, effect=1.0), np.random.default_rng(1).permutation(PATIENTS)
    reordered = with_gradients(shadows, shadows.target.gradients[order])
    np.testing.assert_allclose(scores(reordered), scores(shadows)[order])
    relabelled = replace(shadows, population=np.arange(PATIENTS) >= MEMBERS)
    np.testing.assert_array_equal(scores(relabelled), scores(shadows))


def test_layers_without_a_gradient_and_too_few_patients_to_learn_from_tell_nothing():
    shadows = evidence(0, effect=1.0)
    nothing = np.zeros_like(shadows.target.gradients)
    blank = replace(
        with_gradients(shadows, nothing), shadows=replace(shadows.shadows, gradients=np.stack([nothing] * MODELS))
    )
    assert len(set(scores(blank))) == 1
    few = Shadows(
        Answers(np.zeros(4), nothing[:4]), Answers(np.zeros((2, 4)), np.random.default_rng(0).normal(size=(2, 4, 30))),
        halves(4, 2, 0), np.zeros(4, bool),
    )  # fmt: skip
    assert len(set(scores(few))) == 1


def test_shadows_that_were_asked_for_losses_alone_are_refused():
    losses = Answers(np.zeros(4)), Answers.stacked([Answers(np.zeros(4))] * 2)
    with pytest.raises(ValueError, match="needs the gradients"):
        scores(Shadows(*losses, halves(4, 2, 0), np.zeros(4, bool)))
