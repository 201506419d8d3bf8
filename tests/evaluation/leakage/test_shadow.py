"""What shadows that never saw a patient say about the target's loss."""

import numpy as np
import pytest
import torch
from conftest import toy_slices
from hypothesis import given
from hypothesis import strategies as st

from cmrfed.evaluation.leakage.attacks import Answers, Shadows, halves, train_shadows
from cmrfed.evaluation.leakage.attacks.areas import auc
from cmrfed.evaluation.leakage.attacks.shadow import lira_scores, rmia_scores
from cmrfed.generators import build_generator


@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 5))
def test_every_patient_is_outside_half_of_the_shadows(patients, pairs, seed):
    trained_on = halves(patients, 2 * pairs, seed)
    assert (trained_on.sum(axis=0) == pairs).all()
    assert set(trained_on.sum(axis=1)) <= {patients // 2, patients - patients // 2}


def losses(target, shadows, trained_on, population):
    return Shadows(Answers(np.array(target)), Answers(np.array(shadows)), np.array(trained_on), np.array(population))


def test_scores_are_their_papers_equations_and_read_only_shadows_without_the_patient():
    trained_on = [[True, False, False], [False, True, False], [False, False, True]]
    shadows = np.array([[0.2, 0.5, 0.9], [0.4, 0.1, 0.7], [0.6, 0.3, 0.3]])
    case = losses([0.3, 0.4, 0.8], shadows, trained_on, [False, True, True])
    outside = np.array([[0.4, 0.6], [0.5, 0.3], [0.9, 0.7]])
    spread = np.sqrt(((outside - outside.mean(axis=1, keepdims=True)) ** 2).mean())
    np.testing.assert_allclose(lira_scores(case), (outside.mean(axis=1) - case.target.losses) / spread)
    p_out = np.exp(-outside).mean(axis=1)
    a = np.mean(1 - np.exp([-0.2, -0.1, -0.3])) / np.mean(1 - np.exp(-outside))
    ratio = np.exp(-case.target.losses) / (0.5 * ((1 + a) * p_out + 1 - a))
    expected = [np.mean([one >= ratio[1], one >= ratio[2]]) for one in ratio]
    np.testing.assert_allclose(rmia_scores(case), expected)


def test_shadows_find_members_whom_difficulty_hides_from_a_loss_threshold():
    random = np.random.default_rng(0)
    member = np.arange(80) < 40
    difficulty = random.uniform(0.1, 0.5, 80)
    trained_on = halves(80, 4, 0)
    shadows = difficulty + random.normal(0, 0.01, (4, 80)) - 0.05 * trained_on
    target = difficulty + random.normal(0, 0.01, 80) - 0.05 * member
    case = losses(target, shadows, trained_on, ~member & (np.arange(80) % 2 == 0))
    tested = member | (np.arange(80) % 2 == 1)
    for scores in (lira_scores(case), rmia_scores(case)):
        assert auc(scores[member], scores[~member & tested]) > 0.9
    assert auc(-target[member], -target[~member]) < 0.75


def test_each_shadow_learns_its_own_patients_from_the_same_start(tiny_generator_config):
    slices = toy_slices([2, 2, 2, 2])
    trained_on = halves(4, 2, seed=0)
    starts = []

    def start():
        starts.append(build_generator(tiny_generator_config, seed=0))
        return starts[-1]

    shadows = list(train_shadows(start, slices, trained_on, 2, 0, torch.device("cpu"), "fp32"))
    weights = [torch.cat([weight.flatten() for weight in one.parameters()]) for one in (*shadows, start())]
    assert len(shadows) == 2
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_odd_number_of_shadows_is_refused():
    with pytest.raises(ValueError, match="found 3 and 4"):
        halves(4, 3, 0)
