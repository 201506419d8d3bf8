"""Scores of members and non-members -> rates, against counting by hand and against scikit-learn's curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from cmrfed.evaluation.leakage.attacks import membership_leakage
from cmrfed.evaluation.leakage.attacks.areas import auc_gain
from cmrfed.evaluation.leakage.attacks.membership import tpr_at_fpr

whole_scores = st.lists(st.integers(-3, 3), min_size=1, max_size=30).map(lambda values: np.array(values, float))


@settings(max_examples=50, deadline=None)
@given(members=whole_scores, non_members=whole_scores)
def test_rates_are_what_counting_gives_with_any_ties(members, non_members):
    found = membership_leakage(members, non_members, replicates=2)
    wins = (members[:, None] > non_members).mean() + 0.5 * (members[:, None] == non_members).mean()
    assert found["auc"] == pytest.approx(wins)
    # Fewer than 100 non-members: only a threshold above all of them flags at most 1 %.
    assert found["tpr_at_1pct_fpr"] == pytest.approx((members > non_members.max()).mean())
    assert found["tpr_at_0_1pct_fpr"] == found["tpr_at_1pct_fpr"]


@settings(max_examples=50, deadline=None)
@given(members=whole_scores, non_members=whole_scores, rate=st.sampled_from([0.01, 0.1, 0.3, 0.5]))
def test_rates_are_those_of_scikit_learns_curve(members, non_members, rate):
    truth, scores = np.r_[np.ones(len(members)), np.zeros(len(non_members))], np.r_[members, non_members]
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert tpr_at_fpr(members, non_members, rate) == pytest.approx(true[false <= rate + 1e-9].max())


def test_one_false_positive_is_allowed_among_a_hundred_non_members():
    non_members = np.arange(100.0)
    members = np.array([98.5, 98.5, 200.0, -1.0])
    assert membership_leakage(members, non_members, replicates=2)["tpr_at_1pct_fpr"] == 0.75
    assert membership_leakage(members, non_members[1:], replicates=2)["tpr_at_1pct_fpr"] == 0.25


def test_a_rate_that_so_few_patients_cannot_resolve_says_so():
    few, many = (membership_leakage(np.zeros(5), np.zeros(count), replicates=2) for count in (99, 1000))
    assert few["tpr_at_1pct_fpr_at_zero_fp"] and few["tpr_at_0_1pct_fpr_at_zero_fp"]
    assert not many["tpr_at_1pct_fpr_at_zero_fp"] and not many["tpr_at_0_1pct_fpr_at_zero_fp"]
    assert membership_leakage(np.zeros(5), np.zeros(999), replicates=2)["tpr_at_0_1pct_fpr_at_zero_fp"]


@pytest.mark.parametrize(("shift", "area", "power"), [(10, 1.0, 1.0), (-10, 0.0, 0.0)])
def test_separated_scores_are_perfect_or_perfectly_wrong(shift, area, power):
    scores = np.linspace(0, 1, 20)
    found = membership_leakage(scores + shift, scores)
    assert (found["auc"], found["tpr_at_1pct_fpr"]) == pytest.approx((area, power))
    assert area in found["auc_ci95"] and np.ptp(found["auc_ci95"]) < 0.2


def test_a_blind_attack_scores_a_half():
    found = membership_leakage(np.zeros(20), np.zeros(10))
    assert (found["auc"], found["tpr_at_1pct_fpr"]) == (0.5, 0.0)
    assert (found["members"], found["non_members"]) == (20, 10)


def test_the_same_seed_gives_the_same_interval():
    scores = np.random.default_rng(0).normal(size=(2, 15))
    assert membership_leakage(*scores, 50, seed=1) == membership_leakage(*scores, 50, seed=1)


def test_scores_that_cannot_be_ranked_are_refused():
    with pytest.raises(ValueError, match="found 0 and 3"):
        membership_leakage(np.zeros(0), np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        membership_leakage(np.array([0.0, np.nan]), np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        auc_gain((np.zeros(2), np.zeros(2)), (np.array([0.0, np.inf]), np.zeros(2)))
