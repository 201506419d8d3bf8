"""Who calibrates is never judged, groups have their own rows, and what is claimed stands beside what was measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import hearts, join, oracle_generator
from scipy.stats import mannwhitneyu
from toy_batches import changed

from cmrfed.evaluation.leakage.attacks import (
    ATTACKS,
    Candidates,
    Claim,
    Probe,
    blind_statistics,
    exposure,
    fitted_scores,
    judge,
    judge_blind,
    left_out,
    score_patients,
    strongest,
    style_statistics,
)
from cmrfed.evaluation.leakage.attacks.areas import auc, auc_interval
from cmrfed.slices import Patient

VENDORS, PATHOLOGIES = ("Siemens", "Philips"), ("NOR", "DCM")


def patients(count, first=0):
    return [
        Patient(f"p{first + n:03d}", "toy", VENDORS[n % 2], str(n % 2), PATHOLOGIES[n // 2 % 2]) for n in range(count)
    ]


def cohort(members=40, non_members=40):
    return Candidates.of(patients(members), patients(non_members, 500), seed=0)


@settings(max_examples=20, deadline=None)
@given(members=st.integers(2, 40), non_members=st.integers(2, 40), seed=st.integers(0, 5))
def test_half_of_either_side_calibrates_within_vendor_and_pathology(members, non_members, seed):
    one = Candidates.of(patients(members), patients(non_members, 500), seed)
    assert one.member.sum() == members and len(one.patients) == members + non_members
    for side in (one.member, ~one.member):
        assert abs(one.calibration[side].sum() - side.sum() / 2) <= 0.5
        assert 0 < one.calibration[side].sum() < side.sum()
    if min(members, non_members) >= 8:
        for inside in one.groups("vendor").values():
            assert 0 < one.calibration[inside & one.member].sum() < (inside & one.member).sum()


def test_nobody_calibrates_where_a_side_is_a_single_patient():
    few = cohort(members=5, non_members=1)
    assert not few.calibrates
    evidence = {"probe": Probe(oracle_generator(), join(hearts(5), hearts(1, seed=1)))}
    assert set(left_out(evidence, few, ["loss", "loss_curve", "lira"])) == {"loss_curve", "lira"}
    scores = score_patients(evidence, few, ["loss", "loss_curve", "lira"])
    assert set(scores) == {"loss"}
    found = judge(scores, None, few, Claim(), 20, 0)["loss"]
    assert found["epsilon_lower"] is None and found["beats_blind"] is None
    assert strongest(scores, few, 20, 0) is None


def test_the_battery_finds_a_memoriser_whom_the_blind_do_not():
    members, others = hearts(20, 2, 0), hearts(20, 2, 1)
    slices, one = join(members, others), cohort(20, 20)
    seen = []
    names = ["loss", "loss_curve", "clid"]
    evidence = {"probe": Probe(oracle_generator(memory=members.images), slices)}
    scores = score_patients(evidence, one, names, lambda *step: seen.append(step))
    blind = fitted_scores(blind_statistics(slices), one.member, one.calibration)
    found = judge(scores, blind, one, Claim(0.1, 1e-3), 200, 0)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert list(found) == names
    for name, attack in found.items():
        assert attack["auc"] > 0.95 and attack["tpr_at_1pct_fpr"] > 0.5
        assert attack["beats_blind"] and attack["auc_minus_blind_ci95"][0] > 0
        assert attack["p_value"] <= attack["p_value_adjusted"] < 0.01
        assert 0.1 < attack["epsilon_lower"] <= attack["epsilon_lower_possible"]
        assert (attack["epsilon_claimed"], attack["delta"]) == (0.1, 1e-3)
        assert (attack["access"], attack["family"]) == (ATTACKS[name].access, ATTACKS[name].family)
    assert (found["loss"]["members"], found["loss_curve"]["members"]) == (20, 10)
    assert json.loads(json.dumps(found)) == found
    assert strongest(scores, one, 50, 0)["attack"] in ("loss", "clid")
    assert strongest(scores, one, 50, 0)["members"] == 10


def test_subgroups_have_rows_of_their_own_and_few_patients_a_wide_interval():
    one = cohort(40, 9)
    scores = {"loss": np.random.default_rng(0).normal(size=49) + one.member}
    row = judge(scores, None, one, Claim(), 50, 0)["loss"]
    assert set(row["by_vendor"]) == set(VENDORS) and set(row["by_centre"]) == {"toy 0", "toy 1"}
    for vendor, found in row["by_vendor"].items():
        sides = one.sides(scores["loss"], one.groups("vendor")[vendor])
        assert found["auc"] == pytest.approx(auc(*sides))
        assert (found["members"], found["non_members"]) == tuple(map(len, sides))
        assert found["auc_ci95"] == auc_interval(found["auc"], *map(len, sides))
        assert np.ptp(found["auc_ci95"]) > np.ptp(row["auc_ci95"])
    alone = replace(one, patients=(replace(one.patients[0], pathology="rare"), *one.patients[1:]))
    rare = judge(scores, None, alone, Claim(), 50, 0)["loss"]["by_pathology"]["rare"]
    assert rare == {"members": 1, "non_members": 0, "auc": None, "auc_ci95": None}


def test_an_attack_that_sees_only_what_the_blind_see_does_not_beat_them():
    """Members brighter than the others, as of another hospital: everybody tells them apart, and nothing has leaked."""
    members, others = hearts(30, 1, 0), hearts(30, 1, 1)
    brighter = replace(members, batch=members.batch._replace(images=members.images + 0.5))
    slices, one = join(brighter, others), cohort(30, 30)
    evidence = {"probe": Probe(oracle_generator(), slices)}
    blind = fitted_scores(blind_statistics(slices), one.member, one.calibration)
    found = judge(score_patients(evidence, one, ["loss_curve"]), blind, one, Claim(), 200, 0)["loss_curve"]
    assert found["auc"] > 0.9 and found["blind_auc"] > 0.95
    assert not found["beats_blind"]
    assert judge_blind(blind, one, 50, 0)["auc"] == found["blind_auc"]


def test_the_blind_are_blind_where_the_groups_are_alike():
    areas = []
    for seed in range(8):
        slices, one = join(hearts(30, 1, seed), hearts(30, 1, 100 + seed)), cohort(30, 30)
        areas.append(
            judge_blind(fitted_scores(blind_statistics(slices), one.member, one.calibration), one, 10, 0)["auc"]
        )
    assert abs(np.mean(areas) - 0.5) < 0.1


def test_a_fit_to_noise_is_blind_on_the_patients_it_did_not_see():
    random, areas = np.random.default_rng(0), []
    for _ in range(40):
        statistics, member = random.normal(size=(60, 20)), np.arange(60) < 30
        calibration = np.arange(60) % 2 == 0
        scores = fitted_scores(statistics, member, calibration)
        areas.append(auc(scores[member & ~calibration], scores[~member & ~calibration]))
        assert auc(scores[member & calibration], scores[~member & calibration]) > 0.8
    assert abs(np.mean(areas) - 0.5) < 3 * 0.1 / 40**0.5 + 0.02
    with pytest.raises(ValueError, match="members and non-members"):
        fitted_scores(np.zeros((4, 1)), np.ones(4, bool), np.ones(4, bool))


def test_statistics_of_style_do_not_see_the_mask_and_those_of_the_blind_do():
    slices = hearts(4)
    told = slices.conditions
    told = {"mask": (told["mask"] + 1) % 4, "vendor": told["vendor"] + 1, "phase": told["phase"] + 1}
    other = replace(slices, batch=changed(slices.batch, **told))
    np.testing.assert_array_equal(style_statistics(slices), style_statistics(other))
    assert (blind_statistics(slices) != blind_statistics(other)).any()
    brighter = replace(slices, batch=slices.batch._replace(images=slices.images + 0.1))
    assert (style_statistics(slices) != style_statistics(brighter)).any()


def test_p_values_are_adjusted_for_the_number_of_attacks():
    one = cohort(30, 30)
    random = np.random.default_rng(0)
    scores = {name: random.normal(size=60) + (name == "loss") * one.member for name in list(ATTACKS)[:8]}
    found = judge(scores, None, one, Claim(), 10, 0)
    for name, attack in found.items():
        judged = ~one.calibration if ATTACKS[name].calibrated else np.ones(60, bool)
        expected = mannwhitneyu(*one.sides(scores[name], judged), alternative="greater").pvalue
        assert attack["p_value"] == pytest.approx(expected)
        assert attack["p_value"] <= attack["p_value_adjusted"] <= 1
    assert found["loss"]["p_value_adjusted"] == pytest.approx(
        min(1, found["loss"]["p_value"] * 8 * sum(1 / k for k in range(1, 9)))
    )


def test_the_most_exposed_member_is_the_one_whom_most_families_find():
    one = cohort(10, 10)
    base = np.where(one.member, 0.5, 0.9)
    scores = {"loss": base.copy(), "secmi": base.copy(), "loss_curve": base.copy()}
    for name in ("loss", "secmi"):
        scores[name][3] = 2.0
    scores["loss_curve"][5] = 2.0
    scores["secmi"][7] = 0.9  # below nobody, above nobody
    found, rank = exposure(scores, one)
    assert found.tolist() == [0, 0, 0, 1, 0, 0.5, 0, 0, 0, 0]
    assert rank[3] == pytest.approx(2 / 3) and rank[5] == pytest.approx(1 / 3) and rank[0] == 0
