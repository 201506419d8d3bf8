"""Paired tests: known p-values, Holm's definition, and who is compared with whom."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toy_stacks import record

from cmrfed.evaluation.utility.metrics import COLUMNS, METRICS, StackScores, holm, paired_tests, signed_rank_p
from cmrfed.statistics import bootstrap_mean_interval


def scores_of(dice):
    """The same value for every structure; distances fall as Dice rises."""
    owners = tuple(record(number) for number in range(len(dice)))
    table = np.repeat(np.asarray(dice, float)[:, None], len(COLUMNS), axis=1)
    values = {metric: table if metric == "dice" else 10 * (1 - table) for metric in METRICS}
    return StackScores(values, owners, ("ED",) * len(dice))


@settings(max_examples=50, deadline=None)
@given(differences=arrays(float, st.integers(3, 9), elements=st.integers(-50, 50).filter(bool), unique=True))
def test_p_counts_the_signs_that_give_ranks_as_extreme(differences):
    """Exact where no two differences are equally large: all 2^n signs are equally likely."""
    sizes = np.abs(differences)
    if len(np.unique(sizes)) < len(sizes):
        return
    ranks = np.argsort(np.argsort(sizes)) + 1
    centre = ranks.sum() / 2
    seen = abs(ranks[differences > 0].sum() - centre)
    sums = [abs(ranks[np.array(signs)].sum() - centre) for signs in product([False, True], repeat=len(ranks))]
    assert signed_rank_p(differences) == pytest.approx(np.mean(np.array(sums) >= seen - 1e-9))


def test_no_difference_at_all_is_no_evidence():
    assert signed_rank_p(np.zeros(10)) == 1.0


@settings(max_examples=50, deadline=None)
@given(p=arrays(float, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_rejects_at_any_level_what_his_procedure_rejects(p):
    """Step down from the smallest p; stop at the first above level / (tests not yet rejected)."""
    corrected = holm(p)
    for level in (0.01, 0.05, 0.3):
        rejected = np.zeros(len(p), bool)
        for step, index in enumerate(np.argsort(p, kind="stable")):
            if p[index] * (len(p) - step) > level:
                break
            rejected[index] = True
        assert ((corrected <= level) == rejected).all()


def test_a_consistent_gain_is_found_and_none_is_not():
    random = np.random.default_rng(0)
    base = random.uniform(0.6, 0.8, 24)
    scores = {
        "better": scores_of(base + random.uniform(0.02, 0.08, 24)),
        "same": scores_of(base + random.normal(0, 0.02, 24)),
        "real": scores_of(base),
    }
    rows = paired_tests(scores, [("better", "real"), ("same", "real")], margin=0.05)
    assert len(rows) == 2 * len(METRICS) * len(COLUMNS)
    found = {(row["a"], row["metric"]): row for row in rows if row["structure"] == "mean"}
    assert found["better", "dice"]["p_holm"] < 0.001 < 0.05 < found["same", "dice"]["p_holm"]
    assert found["better", "dice"]["difference"] > 0 > found["better", "hd95_mm"]["difference"]
    assert all(row["p"] <= row["p_holm"] <= 1 for row in rows)


def test_means_are_one_family_and_single_structures_another():
    random = np.random.default_rng(1)
    scores = {name: scores_of(random.uniform(0.5, 0.9, 12)) for name in ("a", "b", "real")}
    rows = paired_tests(scores, [("a", "real"), ("b", "real")], 0.05)
    for family in ([row for row in rows if (row["structure"] == "mean") is mean] for mean in (True, False)):
        expected = holm(np.array([row["p"] for row in family]))
        assert [row["p_holm"] for row in family] == pytest.approx(expected)
    smallest = min(row["p"] for row in rows)
    assert min(row["p_holm"] for row in rows) == pytest.approx(min(1, 2 * len(METRICS) * smallest))


def test_the_interval_is_that_of_the_patients_differences():
    first, second = np.array([0.9, 0.8, 0.7, 0.9]), np.array([0.8, 0.8, 0.5, 0.95])
    row = paired_tests({"a": scores_of(first), "b": scores_of(second)}, [("a", "b")], 0.05, 300, 7)[0]
    assert row["difference"] == pytest.approx((first - second).mean())
    assert row["ci95"] == pytest.approx(bootstrap_mean_interval(first - second, 300, 7))
    assert row["patients"] == 4


@pytest.mark.parametrize(("loss", "non_inferior"), [(0.01, True), (0.2, False)])
def test_non_inferiority_is_an_interval_above_the_margin(loss, non_inferior):
    base = np.linspace(0.6, 0.9, 12)
    noise = np.linspace(-0.005, 0.006, 12)
    rows = paired_tests({"a": scores_of(base - loss + noise), "b": scores_of(base)}, [("a", "b")], margin=0.05)
    assert [row["non_inferior"] for row in rows if row["metric"] == "dice"] == [non_inferior] * len(COLUMNS)
    assert not any("non_inferior" in row for row in rows if row["metric"] != "dice")


def test_patients_are_the_unit_not_their_stacks():
    """Two stacks a patient: the test sees three differences, so that its p cannot be below 2 / 2^3."""
    owners = tuple(record(number) for number in range(3) for _ in range(2))
    shared = dict.fromkeys(METRICS, np.full((6, 4), 0.5))
    better = dict.fromkeys(METRICS, np.full((6, 4), 0.5) + np.arange(1, 7)[:, None] / 100)
    scores = {name: StackScores(values, owners, ("ED", "ES") * 3) for name, values in (("a", better), ("b", shared))}
    row = paired_tests(scores, [("a", "b")], 0.05)[0]
    assert (row["patients"], row["p"]) == (3, 0.25)


def test_sets_tested_on_other_patients_are_refused():
    with pytest.raises(ValueError, match="different patients"):
        paired_tests({"a": scores_of([0.5, 0.6]), "b": scores_of([0.5, 0.6, 0.7])}, [("a", "b")], 0.05)
