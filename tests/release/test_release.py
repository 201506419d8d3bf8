"""Nothing leaves that should not, and what leaves explains itself."""

import numpy as np
import pytest
from finished_runs import PLAN
from finished_runs import attack as finished_attack
from refusals import refuses

from cmrfed.config import DataConfig, GeneratorConfig, RunConfig
from cmrfed.evaluation.schema import Results
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy
from cmrfed.release import ReleasePolicy, reasons_against, release
from cmrfed.report.material import Material
from cmrfed.runs import Run, RunRecord
from cmrfed.updates import load_generator, read_weights, save_generator

POLICY = ReleasePolicy(contact="dpo@hospital.example")


def attack(auc=0.52, low=0.41, high=0.63, **more) -> dict:
    rates = {"tpr_at_1pct_fpr": 0.03, "tpr_at_1pct_fpr_ci95": [0.0, 0.1], "non_members": 25}
    return finished_attack(auc, low, high, **rates | more)


@pytest.fixture
def make(tmp_path):
    """A finished run as its report would read it; changes are made to its attacks, plan or spent epsilon."""

    def made(leakage=None, plan=PLAN, epsilon=2.35, sources=("mnms",), images=None) -> Material:
        config = RunConfig(
            data=DataConfig(root="data", sources=dict.fromkeys(sources, "x")),
            generator=GeneratorConfig(channels=(8, 8), norm_groups=4, init="phantom"),
        )
        record = RunRecord(
            name="toy", created="2026-01-02T03:04:05+00:00", cmrfed="0", versions={}, config=config,
            data_fingerprint="0" * 64, sites={"A": 12, "B": 13}, held_out_patients=7, plan=plan,
            pretraining={"data": "the built-in phantom", "steps": 20}, images=images,
        )  # fmt: skip
        run = Run(tmp_path / "run", record)
        run.arm_folder("private").mkdir(parents=True)
        generator = build_generator(config.generator, seed=3)
        save_generator(run.arm_folder("private") / "model.safetensors", generator, read_weights(generator), secret="S1")
        site = {"patients": 12, "epsilon": epsilon, "delta": 1e-4, "noise_multiplier": 2.0, "sample_rate": 0.5}
        scores = {"leakage": {"loss": attack()} if leakage is None else leakage}
        results = {"run": "toy", "arm": "private", "evaluation": {}, "arms": {"private": scores}, "timing": {}}
        found = Results.model_validate(results | {"sites": {"A": site | {"steps": 4}}})
        return Material(run, found, {}, {}, {}, {}, None)

    return made


def test_a_release_holds_the_weights_the_card_the_sheet_and_the_terms_and_nothing_else(make, tmp_path):
    folder = release(make(), POLICY, tmp_path / "out" / "release")
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "README.md", "DATASHEET.md", "TERMS.md"}
    assert [path.name for path in folder.parent.iterdir()] == ["release"]
    card = (folder / "README.md").read_text()
    for words in ("epsilon 2.35 at delta 0.0001", "dpo@hospital.example", "add or remove one patient", "TERMS.md"):
        assert words in card
    assert "not try to identify anyone" in (folder / "TERMS.md").read_text()


def test_the_released_weights_draw_as_the_runs_own_and_carry_the_grid_and_no_other_note(make, tmp_path):
    material = make()
    released, notes = load_generator(release(material, POLICY, tmp_path / "release") / "model.safetensors")
    own, _ = load_generator(material.run.arm_folder("private") / "model.safetensors")
    for name, weight in read_weights(own).items():
        np.testing.assert_array_equal(read_weights(released)[name], weight)
    config = material.run.config
    assert notes == {name: getattr(config, name).model_dump(mode="json") for name in ("preprocessing", "sampling")}


def test_how_many_patients_a_site_has_and_what_was_measured_on_them_is_not_told(make, tmp_path):
    material = make()
    folder = release(material, POLICY, tmp_path / "release")
    text = "".join(path.read_text() for path in folder.glob("*.md"))
    assert "0.52" not in text
    assert "12" not in text.replace("2026", "").replace("128", "")
    assert "not part of this release" in text
    assert material.run.record.data_fingerprint[:16] not in text


def test_scores_are_told_when_asked_for_with_what_that_means_or_when_nobody_is_in_them(make, tmp_path):
    told = POLICY.model_copy(update={"with_scores": True})
    card = (release(make(), told, tmp_path / "a") / "README.md").read_text()
    assert "0.52 [0.41" in card
    assert "epsilon does not cover them" in card


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"plan": NoPrivacy()}, "without privacy"),
        ({"plan": PLAN.model_copy(update={"seed": 1})}, "from a seed"),
        ({"epsilon": 10.01}, "epsilon 10 is above"),
        ({"epsilon": None}, "no ledger"),
        ({"plan": PLAN.model_copy(update={"delta": 2e-3})}, "delta 0.002"),
        ({"leakage": {}}, "was not run"),
        ({"leakage": {"loss": attack(members=19)}}, "had 19 patients"),
        ({"leakage": {"loss": attack(0.7, 0.6, 0.8)}}, "finds members"),
        ({"leakage": {"loss": attack(), "pia": attack(0.7, 0.6, 0.8)}}, "the pia attack finds"),
        ({"leakage": {"loss": attack(tpr_at_1pct_fpr_ci95=[0.2, 0.5])}}, "TPR"),
        ({"leakage": {"loss": attack(epsilon_lower=2.4, auc_minus_blind=-0.1)}}, "refutes the guarantee"),
        ({"leakage": {"loss": attack(0.7, 0.6, 0.8, auc_minus_blind=0.1, beats_blind=False)}}, "finds members"),
        ({"leakage": {"loss": attack(tpr_at_1pct_fpr_ci95=[0.2, 0.5], auc_minus_blind=-0.1)}}, "TPR"),
        ({"images": "/data/elsewhere"}, "made elsewhere"),
    ],
)
def test_what_breaks_a_condition_is_refused_and_nothing_is_written(make, tmp_path, change, reason):
    with refuses("must not be released", reason):
        release(make(**change), POLICY, tmp_path / "release")
    assert not (tmp_path / "release").exists()


def test_every_reason_is_told_at_once(make):
    material = make(leakage={"loss": attack(0.7, 0.6, 0.8)}, epsilon=30.0)
    assert len(reasons_against(material, POLICY)) == 2


def test_an_attack_that_a_blind_classifier_equals_has_found_nothing(make):
    assert reasons_against(make(leakage={"loss": attack(0.7, 0.6, 0.8, auc_minus_blind=-0.02)}), POLICY) == []


def test_a_folder_that_exists_is_never_written_over(make, tmp_path):
    (tmp_path / "release").mkdir()
    with refuses("release", "exists"):
        release(make(), POLICY, tmp_path / "release")
