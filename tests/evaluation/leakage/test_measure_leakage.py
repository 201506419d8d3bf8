"""The evaluator's leakage of a whole run: every attack and audit has its numbers, and no name leaves."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from refusals import refuses

from cmrfed.config import LeakageConfig, read_stage
from cmrfed.evaluation import leakage
from cmrfed.evaluation.leakage.attacks import ATTACKS, shadow
from cmrfed.evaluation.leakage.attacks.gradient import gradient_logs
from cmrfed.evaluation.subject import Subject, Synthetic
from cmrfed.slices import split_patients

CONFIG = LeakageConfig(
    attacks=None, most_members=0, times=2, inversion_steps=1, shadow_models=2, shadow_steps=1, worst_patients=3
)


def measure_leakage(*of):
    """As results.json has it."""
    attacks, audits = leakage.measure_leakage(*of)
    plain = {arm: {name: rates.plain() for name, rates in found.items()} for arm, found in attacks.items()}
    return plain, {arm: found.plain() for arm, found in audits.items()}


@contextmanager
def silent(_):
    yield lambda *_: None


@pytest.fixture(scope="module")
def subject(finished_tiny_run, tmp_path_factory):
    """Twelve phantom patients, of whom six were trained on; an arm whose images are free, and one that copies."""
    run = finished_tiny_run
    everyone = run.train_slices()
    trained, held_out = split_patients(everyone.records, 0.5, 0)
    train, held_out = everyone.subset(trained), everyone.subset(held_out)
    model, start = (run.arm_folder("private") / f"{name}.safetensors" for name in ("model", "initial"))
    noise = np.random.default_rng(0).uniform(-1, 1, held_out.images.shape).astype(np.float32)
    copied = np.asarray(train.images)[np.arange(len(held_out)) % len(train)]
    nothing = train.take(np.empty(0, np.int64))
    synthetic = {
        "free": Synthetic(replace(held_out, images=noise), nothing, model, start=start, plan=run.record.plan),
        "copier": Synthetic(replace(held_out, images=copied), nothing, None, paired=False),
    }
    return Subject(
        train, held_out, held_out, nothing, synthetic, seed=0, bootstrap=100, device=torch.device("cpu"),
        precision="fp32", cache=tmp_path_factory.mktemp("central") / "cache",
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(subject):
    return measure_leakage(subject, CONFIG, silent)


def test_every_attack_is_there_or_it_is_said_why_not(found):
    attacks, audits = found
    for arm, possible in (("free", {"probe", "shadows", "pixels"}), ("copier", {"pixels"})):
        expected = {name for name, attack in ATTACKS.items() if attack.needs in possible}
        assert set(attacks[arm]) == expected
        assert set(audits[arm]["left_out"]) == ATTACKS.keys() - expected
        for row in attacks[arm].values():
            assert {
                "auc",
                "auc_ci95",
                "tpr_at_1pct_fpr",
                "tpr_at_0_1pct_fpr",
                "epsilon_lower",
                "blind_auc",
            } <= row.keys()
            assert {"by_vendor", "by_pathology", "by_centre", "access", "family", "beats_blind"} <= row.keys()
    assert json.loads(json.dumps(found)) == [attacks, audits]


def test_what_the_arms_plan_claims_stands_beside_what_was_measured(found, finished_tiny_run):
    plan = finished_tiny_run.record.plan
    row = found[0]["free"]["loss"]
    assert (row["epsilon_claimed"], row["delta"]) == (plan.target_epsilon, plan.delta)
    assert found[0]["copier"]["extraction"]["epsilon_claimed"] is None


def test_a_copier_is_seen_from_its_samples_alone(found):
    attacks, audits = found
    assert attacks["copier"]["extraction"]["auc"] == attacks["copier"]["nearest_sample"]["auc"] == 1.0
    copies = audits["copier"]["copies"]["pixels"]
    assert copies["extracted"] == 1.0 and copies["extracted_real"] < 0.5 and copies["data_copying_z"] < -2
    assert audits["free"]["copies"]["pixels"]["extracted"] == 0.0


def test_the_worst_patients_are_named_by_hashes_and_the_key_stays_with_the_data(found, subject):
    text = json.dumps(found)
    assert not any(name in text for name in (*subject.train.patient_names, *subject.held_out.patient_names))
    for arm in found[1].values():
        assert len(arm["worst_patients"]) == 3
        assert all(len(one["patient"]) == 16 for one in arm["worst_patients"])
    assert (subject.cache.parent / "names.key").exists()


def test_only_some_members_are_scored_where_that_is_asked_for(subject):
    config = CONFIG.model_copy(update={"most_members": 3, "attacks": ("loss",), "shadow_models": 0})
    row = measure_leakage(subject, config, silent)[0]["free"]["loss"]
    assert (row["members"], row["non_members"]) == (3, subject.held_out.number_of_patients)


@pytest.mark.parametrize(("name", "models"), [("lira", 0), ("gradient_shadow", 1 + CONFIG.shadow_models)])
def test_shadows_are_asked_for_gradients_only_by_an_attack_that_reads_them(subject, monkeypatch, name, models):
    asked = []
    monkeypatch.setattr(shadow, "gradient_logs", lambda probe: asked.append(probe) or gradient_logs(probe))
    one = replace(subject, synthetic={"free": subject.synthetic["free"]})
    attacks, _ = measure_leakage(one, CONFIG.model_copy(update={"attacks": (name,)}), silent)
    assert set(attacks["free"]) == {name}
    assert len(asked) == models


def test_images_are_compared_by_features_too_where_a_network_is_named(subject):
    config = CONFIG.model_copy(
        update={"attacks": ("extraction_features", "nearest_sample_features"), "feature_space": "efficientnet-lite0"}
    )
    thinned = replace(subject, synthetic={"copier": subject.synthetic["copier"]})
    attacks, audits = measure_leakage(thinned, config, silent)
    assert attacks["copier"]["extraction_features"]["auc"] > 0.9
    assert audits["copier"]["copies"]["features"]["data_copying_z"] < -1
    assert set(audits["copier"]["left_out"]) == set()


def test_an_unknown_attack_is_refused_in_one_line():
    with refuses("evaluation.leakage: attacks", "(found 'los'); did you mean loss?"):
        read_stage(LeakageConfig, {"attacks": ["los"]}, "evaluation.leakage")
