"""A site attacks its own patients as the evaluator would, says only what its policy allows, and says it once."""

import json
import os
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import toy_plan, toy_slices
from homes import SIDES_KEY, answer, make_home, network_of
from refusals import refuses
from tiny_runs import tiny_run_config

from cmrfed.apps.server.membership_audit import audit_membership
from cmrfed.config import LeakageConfig
from cmrfed.evaluation.leakage import measure_leakage
from cmrfed.evaluation.subject import Subject, Synthetic
from cmrfed.federation import Arm, ArmPlan
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy
from cmrfed.provision import Register
from cmrfed.site import Home, Refusal, Request
from cmrfed.site import membership_audit as site_audit
from cmrfed.site.division import Division
from cmrfed.site.membership_audit import (
    AttackSummary,
    MembershipAuditRequest,
    MembershipSummary,
    answer_membership_audit,
    pooled,
)
from cmrfed.slices import concatenate
from cmrfed.training import LocalTask
from cmrfed.updates import read_weights, save_generator

LEAKAGE = LeakageConfig(times=2, inversion_steps=1, attacks=("loss", "loss_curve", "sima", "nearest_sample"))


@contextmanager
def silent(_):
    yield lambda *_: None


@pytest.fixture
def weights(tiny_generator_config):
    return read_weights(build_generator(tiny_generator_config, seed=0))


@pytest.fixture
def home(tmp_path):
    return audited_home(tmp_path)


def audited_home(folder, seed=0, **policy):
    """Twelve patients, of whom a third are held out."""
    folder.mkdir(exist_ok=True)
    make_home(folder)
    everybody = toy_slices([3] * 12, seed=seed, first=100 * seed)
    division = Division(hold_out=1 / 3, key=SIDES_KEY).extended(everybody.records)
    (folder / "division.json").write_text(division.model_dump_json())
    everybody.subset(division.trained_on).save(folder / "slices.safetensors")
    everybody.subset(division.held_out).save(folder / "held_out.safetensors")
    allowed = {"allow_membership_audit": True, "minimum_membership_audit_patients": 3, "allow_without_privacy": True}
    return make_home(folder, **(allowed | policy))


@pytest.fixture
def took_part(tiny_generator_config, fp32_training, weights):
    """Have a home train in a run."""

    def train(home, run="run", moved=None):
        task = LocalTask(training=fp32_training, plan=NoPrivacy(), round=1, rounds=1)
        answer(home, Request(run=run, generator=tiny_generator_config, task=task), moved or weights)

    return train


@pytest.fixture
def question(tiny_generator_config, fp32_training):
    def make(run="run", **changes):
        values = {"leakage": LEAKAGE, "bootstrap": 100, "epsilon": 1.0, "delta": 1e-3} | changes
        return MembershipAuditRequest(run=run, generator=tiny_generator_config, training=fp32_training, **values)

    return make


def test_a_site_answers_what_a_central_evaluator_of_its_patients_measures(
    home, weights, took_part, question, tiny_generator_config, tmp_path
):
    took_part(home)
    summary = answer_membership_audit(home, question())
    generator, path = build_generator(tiny_generator_config, seed=0), tmp_path / "arm" / "model.safetensors"
    path.parent.mkdir()
    save_generator(path, generator, weights)
    members, held_out = home.slices(), home.held_out_slices()
    nothing = members.take(np.empty(0, np.int64))
    subject = Subject(
        members, held_out, nothing, nothing, {"arm": Synthetic(nothing, nothing, path)}, seed=0, bootstrap=100,
        device=torch.device("cpu"), precision="fp32", cache=tmp_path / "central" / "cache",
    )  # fmt: skip
    central = measure_leakage(subject, LEAKAGE, silent)[0]["arm"]
    assert set(summary.attacks) == {"loss", "loss_curve", "sima"}
    for name, attack in summary.attacks.items():
        for key in set(AttackSummary.model_fields) - {"epsilon_lower", "epsilon_lower_possible"}:
            found = getattr(attack, key)
            assert (list(found) if isinstance(found, tuple) else found) == getattr(central[name], key)


def test_only_rates_over_all_patients_leave(home, weights, took_part, question):
    took_part(home)
    left = answer_membership_audit(home, question()).model_dump_json()
    assert not any(name in left for name in (*home.slices().patient_names, *home.held_out_slices().patient_names))
    assert "by_" not in left and "worst" not in left


def test_a_hospital_must_allow_audits_and_has_enough_patients_for_one(home, weights, took_part, question):
    took_part(home)
    for policy, said in (
        ({}, "allow_membership_audit is false"),
        ({"allow_membership_audit": True}, "needs 10 patients on either side"),
        ({"allow_membership_audit": True, "minimum_membership_audit_patients": 5}, "needs 5 patients"),
        (
            {"allow_membership_audit": True, "minimum_membership_audit_patients": 2, "generators": ["ddpm"]},
            "generator flow is not among",
        ),
    ):
        with pytest.raises(Refusal, match=said):
            answer_membership_audit(make_home(home.folder, **policy), question())
    assert not (home.folder / "audits").exists()


def test_a_site_audits_only_runs_that_it_took_part_in(home, weights, question):
    with pytest.raises(Refusal, match="took no part"):
        answer_membership_audit(home, question())


def test_a_run_is_audited_once_and_the_same_question_gets_the_same_answer(
    home, weights, took_part, question, monkeypatch
):
    took_part(home)
    first = answer_membership_audit(home, question())
    monkeypatch.setattr(site_audit, "summarise", lambda *_: pytest.fail("attacked again"))
    assert answer_membership_audit(home, question()) == first
    with pytest.raises(Refusal, match="answered already"):
        answer_membership_audit(home, question(seed=1))
    took_part(home, moved={name: array + 0.01 for name, array in weights.items()})
    with pytest.raises(Refusal, match="answered already"):
        answer_membership_audit(home, question())


def test_a_site_attacks_the_global_weights_that_it_last_trained_from(home, weights, took_part, question, monkeypatch):
    """And never such as a server chooses for the audit: no message carries any."""
    moved = {name: array + 0.01 for name, array in weights.items()}
    took_part(home)
    took_part(home, moved=moved)
    attacked = []
    monkeypatch.setattr(site_audit, "write_weights", lambda _, chosen: attacked.append(chosen))
    answer_membership_audit(home, question())
    assert all(np.array_equal(attacked[0][name], moved[name]) for name in moved)


def test_a_site_answers_no_more_audits_a_year_than_its_policy_allows(home, took_part, question):
    for run in ("one", "two"):
        took_part(home, run)
    answer_membership_audit(home, question("one"))
    with pytest.raises(Refusal, match="1 audits were answered within a year"):
        answer_membership_audit(home, question("two"))
    for path in (home.folder / "audits").iterdir():
        os.utime(path, (0, time.time() - 366 * 24 * 3600))
    answer_membership_audit(home, question("two"))


def test_slices_prepared_anew_with_everybody_are_still_not_trained_on_where_they_are_held_out(home, took_part):
    trained, kept = set(home.slices().patient_names), set(home.held_out_slices().patient_names)
    assert len(trained) == 8 and len(kept) == 4 and not trained & kept
    toy_slices([3] * 12).save(home.folder / "slices.safetensors")
    took_part(home)
    assert set(home.slices().patient_names) == trained


def test_patients_who_came_after_a_run_began_are_no_members_of_it(home, weights, took_part, question):
    took_part(home)
    before = home.slices()
    concatenate([before, toy_slices([3] * 5, seed=9, first=50)]).save(home.folder / "slices.safetensors")
    took_part(home)
    assert home.slices().number_of_patients == 13
    assert home.members("run").records == before.records
    assert {row.members for row in answer_membership_audit(home, question()).attacks.values()} <= {8, 4}


def test_a_patient_on_both_sides_under_another_name_ends_the_audit(home, weights, took_part, question):
    took_part(home)
    kept = home.held_out_slices()
    again = replace(kept, records=tuple(replace(one, patient=f"again-{one.patient}") for one in kept.records))
    concatenate([home.slices(), again]).save(home.folder / "slices.safetensors")
    with refuses("4 patients are both trained on and held out, by names or images"):
        answer_membership_audit(home, question())


def test_without_held_out_patients_there_is_no_audit(tmp_path, weights, took_part, question):
    home = make_home(
        tmp_path, allow_membership_audit=True, minimum_membership_audit_patients=2, allow_without_privacy=True
    )
    took_part(home)
    with refuses("held out before any training (`cmrfed prepare hold_out=0.2`)"):
        answer_membership_audit(home, question())


def summary(auc, low, high, members, non_members, tpr=0.1, bound=0.2):
    row = AttackSummary(
        auc=auc, auc_ci95=(low, high), tpr_at_1pct_fpr=tpr, tpr_at_1pct_fpr_ci95=(0, 1), members=members,
        non_members=non_members, blind_auc=0.5, beats_blind=False, epsilon_lower=bound, epsilon_lower_possible=2.0,
    )  # fmt: skip
    return MembershipSummary(attacks={"loss": row})


def test_pooling_counts_pairs_within_sites():
    found = pooled({"a": summary(0.6, 0.5, 0.75, 30, 10), "b": summary(0.8, 0.6, 0.9, 10, 10, tpr=0.5, bound=None)})
    assert found["loss"]["auc"] == pytest.approx((0.6 * 300 + 0.8 * 100) / 400)
    below, above = np.hypot(0.75 * 0.1, 0.25 * 0.2), np.hypot(0.75 * 0.15, 0.25 * 0.1)
    assert found["loss"]["auc_ci95"] == pytest.approx([0.65 - below, 0.65 + above])
    assert found["loss"]["tpr_at_1pct_fpr"] == pytest.approx(0.75 * 0.1 + 0.25 * 0.5)
    assert (found["loss"]["epsilon_lower"], found["loss"]["members"], found["loss"]["sites"]) == (0.2, 40, 2)


def test_over_flower_every_site_answers_or_says_why_not(tmp_path, weights, took_part, tiny_generator_config):
    homes = {name: audited_home(tmp_path / name, seed, name=name) for seed, name in enumerate(("east", "west"))}
    homes["north"] = audited_home(tmp_path / "north", 2, name="north", allow_membership_audit=False)
    config = tiny_run_config(tmp_path, generator=tiny_generator_config.model_dump())
    evaluation = config.evaluation.model_copy(update={"leakage": LEAKAGE})
    config = config.model_copy(update={"evaluation": evaluation})
    plan = ArmPlan(run="r", name="private", config=config, plan=toy_plan(), sites=tuple(homes))
    arm = Arm.create(tmp_path / "runs" / "arms" / "private", plan, weights)
    for one in homes.values():
        took_part(one, arm.run_at_sites)
    audit_membership(arm, network_of(homes), Register())
    found = json.loads((arm.folder / "membership_audit.json").read_text())
    assert list(found["sites"]) == ["east", "west"]
    assert found["not_answered"] == {"north": "refused"}
    assert "allow_membership_audit is false" in (homes["north"].folder / "refusals.jsonl").read_text()
    assert found["attacks"]["loss"]["members"] == 16 and found["attacks"]["loss"]["sites"] == 2
    own = Home(homes["east"].folder)
    kept = (own.folder / "audits").glob("*.json")
    assert found["sites"]["east"] == json.loads(next(kept).read_text().split("\n")[1])["attacks"]


def test_whoever_a_run_trained_on_in_an_earlier_home_is_no_stranger_to_it(
    tmp_path, weights, question, tiny_generator_config, fp32_training
):
    """A run goes on in a new home of the same hospital, and holds out patients it began with."""
    plan = toy_plan(seed=None, target_epsilon=1000.0)

    def train(home, round):
        task = LocalTask(training=fp32_training, plan=plan, round=round, rounds=2)
        answer(home, Request(run="run", generator=tiny_generator_config, task=task), weights)

    shared = str(tmp_path / "hospital" / "ledger.sqlite")
    old, new = make_home(tmp_path / "old", ledger=shared), audited_home(tmp_path / "new", ledger=shared)
    concatenate([new.slices(), new.held_out_slices()]).save(old.folder / "slices.safetensors")
    train(old, round=1)
    train(new, round=2)
    with refuses("4 of the patients who are held out were trained on in this run before"):
        answer_membership_audit(new, question())
