"""The simulated federation: patients never cross sites, budgets hold, interruptions are free, bad input stops it."""

import fcntl
import json
import re
import shutil
import stat
from itertools import count
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
from conftest import toy_slices
from omegaconf import OmegaConf
from tiny_runs import tiny_run_config

from cmrfed.apps.server.strategy import PrivateFederation
from cmrfed.apps.simulations.arms import _Watch
from cmrfed.apps.simulations.simulate import resume, simulate
from cmrfed.config import UserError
from cmrfed.console import progress_bar
from cmrfed.evaluation.schema import Results, schema
from cmrfed.federation import Arm
from cmrfed.federation.start import pretrained_on_phantom, refuse_poor_start
from cmrfed.privacy import epsilon
from cmrfed.release import ReleasePolicy, reasons_against
from cmrfed.report import write_comparison, write_report
from cmrfed.report.material import read_material
from cmrfed.runs import Run, interrupted_run
from cmrfed.runs.evaluation import evaluate
from cmrfed.site import Home, answer
from cmrfed.slices import Slices
from cmrfed.training import plain_gradient
from cmrfed.updates import load_generator, load_weights


@pytest.fixture(scope="module")
def finished(finished_tiny_run):
    return finished_tiny_run


@pytest.fixture(scope="module")
def scores(finished, few_halves):
    return evaluate(finished, finished.config.evaluation, progress_bar)


@pytest.fixture
def results(scores):
    return scores.plain()


def test_no_patient_is_at_two_sites_or_both_trained_on_and_held_out(finished):
    parts = [set(Slices.load(finished.site_home(site) / "slices.safetensors").patient_names) for site in finished.sites]
    parts.append(set(finished.held_out_slices().patient_names))
    assert sum(map(len, parts)) == len(set.union(*parts)) == 12
    assert finished.sites == ["GE", "Siemens"]


def test_every_sites_ledger_holds_the_whole_federation_within_the_target(finished):
    plan = finished.record.plan
    for site in finished.sites:
        home = Home(finished.site_home(site))
        entries = home.ledger.rows(run=home.row_name(f"{finished.record.name}/private"))
        assert [entry.round for entry in entries] == [1, 2]
        assert sum(entry.event.steps for entry in entries) == plan.steps == 4
        assert entries[-1].epsilon == pytest.approx(epsilon([plan.event(4)], plan.delta))
        assert entries[-1].epsilon <= plan.target_epsilon
        assert home.spent_in(f"{finished.record.name}/private")[-1] == (2, entries[-1].epsilon)
        heads = {line["sites"][site]["ledger_head"] for line in _rounds(finished)[1:]}
        assert len(heads) == 2 and heads <= {row.hash for row in home.ledger.rows()}


def test_what_simulations_spend_of_the_same_patients_adds_up_and_is_said_before_each_begins(
    cache, tmp_path, monkeypatch, capsys
):
    """Patients, and not the phantom's hearts, which are nobody's: their runs share this account's ledger."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    config = tiny_run_config(cache, data={"sources": {"mnms": "phantom"}}, federation={"rounds": 1})
    first = simulate(config, tmp_path / "runs")
    assert "in earlier runs" not in capsys.readouterr().out
    simulate(config, tmp_path / "runs")
    plan = first.record.plan
    once, twice = (epsilon([plan.event(steps)], plan.delta) for steps in (2, 4))
    said = capsys.readouterr().out
    assert f"in earlier runs a patient has spent up to epsilon {once:.3g}; with this one {twice:.3g}" in said
    assert str(tmp_path / "data" / "cmrfed" / "ledger.sqlite") in said


def test_every_arm_starts_from_the_same_public_weights_and_ends_elsewhere(finished):
    assert finished.arms() == ["epsilon_0", "private", "non_private"]
    first = {arm: load_weights(finished.arm_folder(arm) / "initial.safetensors")[0] for arm in finished.arms()}
    last = {arm: load_weights(finished.arm_folder(arm) / "model.safetensors")[0] for arm in finished.arms()}
    for name, start in first["epsilon_0"].items():
        assert np.array_equal(start, first["private"][name])
        assert np.array_equal(start, last["epsilon_0"][name])
    assert any(not np.array_equal(last["private"][name], start) for name, start in first["private"].items())


def test_only_adapted_weights_differ_from_the_public_start(finished):
    generator, _ = load_generator(finished.folder / "model.safetensors")
    start, _ = load_weights(finished.arm_folder("private") / "initial.safetensors")
    for name, weight in generator.named_parameters():
        if not weight.requires_grad:
            assert torch.equal(weight, torch.from_numpy(start[name]))


def test_run_json_repeats_the_run(finished, cache, tmp_path):
    """Made again from its own record, a seeded run gives the same weights."""
    again = simulate(Run.open(finished.folder).config, tmp_path)
    for arm in finished.arms():
        first, second = (load_weights(run.arm_folder(arm) / "model.safetensors")[0] for run in (finished, again))
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_an_interrupted_run_goes_on_from_its_last_round_with_what_was_spent_counted(finished, tmp_path, monkeypatch):
    end_of_round = PrivateFederation.aggregate_train

    def stop_in_round_two(self, server_round, replies):
        if self.state.round == 1:
            raise KeyboardInterrupt  # both sites have answered; the server dies before it has stored anything
        return end_of_round(self, server_round, replies)

    config = finished.config.model_copy(
        update={"federation": finished.config.federation.model_copy(update={"arms": "private"})}
    )
    with monkeypatch.context() as broken:
        broken.setattr(PrivateFederation, "aggregate_train", stop_in_round_two)
        with pytest.raises(KeyboardInterrupt):
            simulate(config, tmp_path)
    run = Run.open(tmp_path / "latest")
    assert [line["round"] for line in _rounds(run)] == [0, 1]
    resume(run)
    assert [line["round"] for line in _rounds(run)] == [0, 1, 2]
    for site in run.sites:
        home = Home(run.site_home(site))
        entries = home.ledger.rows(run=home.row_name(f"{run.record.name}/private"))
        assert [entry.round for entry in entries] == [1, 2], (
            "the lost answer was sent again, not trained and paid again"
        )
    whole, resumed = (load_weights(r.arm_folder("private") / "model.safetensors")[0] for r in (finished, run))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def _rounds(run):
    return [json.loads(line) for line in (run.arm_folder("private") / "rounds.jsonl").read_text().splitlines()]


def test_the_results_of_a_run_keep_to_it_and_all_who_read_them_can(finished, scores, tmp_path):
    run, found = finished, scores
    text = (run.folder / "results.json").read_text()
    jsonschema.validate(json.loads(text), schema())
    assert {"fidelity", "utility", "leakage", "composite"} <= json.loads(text)["arms"]["private"].keys()
    read = Results.model_validate_json(text)
    assert (read, read.to_json()) == (found, text)
    claims = {arm: own.leakage["loss"].epsilon_claimed for arm, own in found.arms.items()}
    assert claims["private"] == run.record.plan.target_epsilon
    assert claims["epsilon_0"] is None
    assert write_report(run, None).exists()
    assert write_comparison([run, run], tmp_path / "compare.html").exists()
    assert reasons_against(read_material(run, False), ReleasePolicy(minimum_members=10**6)) != []


def test_results_hold_every_promised_number(finished, results):
    stored = json.loads((finished.folder / "results.json").read_text())
    assert stored == json.loads(json.dumps(results))
    for site in finished.sites:
        row = stored["sites"][site]
        assert row["patients"] == finished.record.sites[site]
        assert {"epsilon", "delta", "noise_multiplier", "sample_rate", "steps"} <= row.keys()
    assert {"fid", "kid", "fid_real", "kid_real"} <= stored["fidelity"].keys()
    for training in ("real", "synthetic", "mixed"):
        assert {"lv", "myo", "rv", "mean"} == stored["utility"][training]["dice"].keys()
        assert set(stored["utility"][training]["by_vendor"]) == {"GE", "Siemens"}
    assert {"auc", "auc_ci95", "tpr_at_1pct_fpr"} <= stored["leakage"]["loss"].keys()
    assert all(
        stored["timing"][name] >= 0 for name in ("train_s", "federation_overhead_s", "sample_s_per_slice", "evaluate_s")
    )
    assert stored["arm"] == "private"
    assert stored["private_beats_epsilon_0"].keys() == {"fid", "kid"}  # and "dice_mean" where that is not void


def test_results_keep_to_their_schema(finished, results):
    stored = json.loads((finished.folder / "results.json").read_text())
    jsonschema.validate(stored, schema())
    assert {"fidelity", "utility", "leakage", "composite"} <= stored["arms"]["private"].keys()


def test_noise_gets_no_score_and_the_verdict_says_so_in_plain_words(finished, results):
    """Three steps of pretraining taught the generator nothing, nor did two the segmenters."""
    assert results["utility"]["void"]
    assert results["composite"] == results["arms"]["private"]["composite"]
    assert results["composite"]["value"] is None
    assert results["composite"]["void"] == results["utility"]["void"]
    report = write_report(finished, None).read_text()
    assert "The comparison of usefulness is void" in report
    assert "Nothing can be said of it: a segmentation network trained on real images themselves" in report
    assert "cannot tell the two apart. Trained" not in report


def test_members_are_the_trained_patients_and_strangers_the_held_out_ones(finished, results):
    leakage = results["leakage"]["loss"]
    assert leakage["members"] == sum(finished.record.sites.values())
    assert leakage["non_members"] == finished.record.held_out_patients


def test_a_site_that_refuses_is_named_and_the_others_go_on(cache, tmp_path, monkeypatch):
    def save(policy, path):
        OmegaConf.save(policy | ({"maximum_delta": 1e-9} if policy["name"] == "GE" else {}), path)

    monkeypatch.setattr("cmrfed.site.layout.OmegaConf", SimpleNamespace(save=save))
    run = simulate(tiny_run_config(cache), tmp_path)
    for line in _rounds(run)[1:]:
        assert line["sites"]["GE"]["reason"] == "refused"
        assert line["sites"]["Siemens"]["reason"] is None
    home = Home(run.site_home("GE"))
    assert home.ledger.rows(run=home.row_name(f"{run.record.name}/private")) == []
    assert "delta 0.001 is above" in (home.folder / "refusals.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"root": "/nowhere", "sources": {"acdc": "acdc"}}}, "data.root: /nowhere: no such folder"),
        ({"data": {"sources": {"acdc": "/nowhere/acdc"}}}, "data.sources.acdc: /nowhere/acdc: no such folder"),
        (
            {"generator": {"init": "phantom"}, "federation": {"largest_start_loss": 0.5}},
            r"generator.init: the start's held-out loss is 1\.\d+, more than 0.5 of the 0\.\d+ of guessing each pixel",
        ),
        ({"privacy": {"minimum_patients": 50}}, "privacy.minimum_patients: site GE has 4"),
        ({"privacy": {"target_epsilon": 1e-4}}, "privacy.target_epsilon: no noise multiplier"),
        ({"generator": {"init": "/nowhere"}}, "generator.init: /nowhere holds no model"),
        ({"generator": {"channels": [10]}}, "generator: channels: each must be a multiple"),
    ],
)
def test_what_cannot_work_stops_in_one_line_before_a_run_begins(cache, tmp_path, changes, said):
    with pytest.raises(UserError, match=said) as error:
        simulate(tiny_run_config(cache, **changes), tmp_path)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"prepared"}, "no run was begun"


def test_an_evaluation_of_nothing_draws_nothing_and_can_be_reported(finished, tmp_path, monkeypatch):
    def draw(*_):
        raise AssertionError("an image was drawn")

    shutil.copytree(finished.folder, tmp_path / "run", ignore=shutil.ignore_patterns("synthetic.safetensors"))
    run = Run.open(tmp_path / "run")
    nothing = dict.fromkeys(("fidelity", "utility", "leakage"))
    monkeypatch.setattr("cmrfed.runs.subject.synthesise", draw)
    found = evaluate(run, run.config.evaluation.model_copy(update=nothing), progress_bar).plain()
    assert {kind: found[kind] for kind in nothing} == nothing
    assert found["composite"] is None
    assert not list(run.folder.rglob("synthetic.safetensors"))
    assert "What was promised, and how" in write_report(run, None).read_text()


def test_only_the_owner_can_enter_a_run_and_its_sites_or_read_their_slices(finished):
    folders = [finished.folder, finished.folder / "central", *map(finished.site_home, finished.sites)]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    slices = [path for folder in folders[1:] for path in folder.glob("*.safetensors")]
    assert len(slices) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in slices} == {0o600}


def test_what_is_wrong_with_the_data_is_found_before_calibration_takes_its_time(cache, tmp_path, monkeypatch):
    def calibrate(*_):
        raise AssertionError("calibrated first")

    monkeypatch.setattr("cmrfed.runs.draft.LocalNoise.calibrated", calibrate)
    with pytest.raises(UserError, match=r"data.root: /nowhere"):
        simulate(tiny_run_config(cache, data={"root": "/nowhere", "sources": {"mnms": "mnms"}}), tmp_path)


@pytest.mark.parametrize(
    ("init", "mode", "largest"), [(None, "local", 0.01), ("phantom", "none", 0.01), ("phantom", "local", None)]
)
def test_a_start_is_not_judged_where_it_was_chosen_or_nothing_is_spent(cache, init, mode, largest):
    config = tiny_run_config(
        cache, generator={"init": init}, privacy={"mode": mode}, federation={"largest_start_loss": largest}
    )
    refuse_poor_start(config, {}, toy_slices([1]))


def test_a_start_that_is_not_a_number_is_refused(cache, finished, monkeypatch):
    config = tiny_run_config(cache, generator={"init": "phantom"}, federation={"largest_start_loss": 100.0})
    start = load_weights(finished.arm_folder("private") / "initial.safetensors")[0]
    slices = finished.held_out_slices()
    refuse_poor_start(config, start, slices)
    monkeypatch.setattr("cmrfed.federation.start.validation_losses", lambda *_: {"GE": float("nan")})
    with pytest.raises(UserError, match="held-out loss is nan"):
        refuse_poor_start(config, start, slices)


def test_an_interrupted_pretraining_is_gone_on_with_and_never_taken_for_a_whole_one(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CMRFED_CACHE", str(tmp_path))
    monkeypatch.setattr("cmrfed.training.pretraining.CHECKPOINT_EVERY_S", 0.0)
    config, steps = tiny_run_config(cache), count()

    def die_in_the_third(*arguments):
        if next(steps) == 2:
            raise KeyboardInterrupt
        return plain_gradient(*arguments)

    monkeypatch.setattr("cmrfed.training.pretraining.plain_gradient", die_in_the_third)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        pretrained_on_phantom(config)
    assert interrupt.value.__notes__ == ["2 of 3 steps of pretraining are kept for the next try"]
    assert not list(tmp_path.glob("pretrained/*.safetensors"))
    path = pretrained_on_phantom(config)
    assert next(steps) == 4, "the third step alone was taken again"
    assert load_weights(path)[1]["pretraining"]["steps"] == 3
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture
def cut_short(finished, tmp_path):
    """A run in its own folder of runs, whose training was interrupted after a round."""
    folder = shutil.copytree(finished.folder, tmp_path / "runs" / finished.folder.name)
    shutil.rmtree(folder / "arms" / "private")
    (folder / "report.html").unlink(missing_ok=True)
    return Run.open(folder)


def test_auto_goes_on_with_the_newest_run_of_this_configuration_where_it_was_cut_short(cut_short):
    out, config = cut_short.folder.parent, cut_short.config
    (out / "latest").symlink_to(cut_short.folder.name)
    (out / "2000-01-01_damaged").mkdir()
    (out / "2000-01-01_damaged" / "run.json").write_text("{}")
    assert interrupted_run(config, out).folder == cut_short.folder
    assert interrupted_run(config.model_copy(update={"seed": 1}), out) is None
    (cut_short.folder / "report.html").touch()
    assert interrupted_run(config, out) is None
    assert interrupted_run(config, out / "none") is None


def test_a_run_at_which_another_process_works_is_left_alone(cut_short):
    with (cut_short.folder / ".at_work").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is at work on this run"):
            resume(cut_short)
    assert not cut_short.arm_folder("private").exists()


def test_a_site_whose_home_is_gone_is_named_before_anything_is_asked_of_the_others(cut_short):
    shutil.rmtree(cut_short.site_home("GE"))
    with pytest.raises(UserError, match=r"sites/GE: is not a site's home any more; put the folder back"):
        resume(cut_short)
    assert not cut_short.arm_folder("private").exists()


def test_a_run_says_its_name_when_it_begins_and_goes_on_and_what_each_round_cost(cut_short, capsys):
    config = cut_short.config.model_copy(
        update={"federation": cut_short.config.federation.model_copy(update={"arms": "private"})}
    )
    run = simulate(config, cut_short.folder.parent)
    printed = capsys.readouterr().out
    assert f"run {run.folder.name} begins, in {run.folder}\n" in printed
    spent = Home(run.site_home("GE")).spent_in(f"{run.record.name}/private")
    assert spent[0][1] < spent[1][1]
    for number, epsilon_then in spent:
        assert re.search(rf"round {number}/2 .*GE epsilon {epsilon_then:.2f}", printed)
    resume(run)
    assert f"run {run.folder.name} goes on" in capsys.readouterr().out


def test_a_round_s_line_has_that_round_s_epsilon_however_late_it_is_read(finished, capsys):
    arm = Arm.open(finished.arm_folder("private"))
    watch = _Watch(finished, arm, lambda done, total: None)
    watch.rounds_shown = 1
    watch.tick()  # both rounds are over
    spent = Home(finished.site_home("GE")).spent_in(arm.run_at_sites)
    lines = capsys.readouterr().out.splitlines()
    assert [re.search(r"GE epsilon ([\d.]+)", line)[1] for line in lines] == [f"{one:.2f}" for _, one in spent]


def test_a_run_that_stopped_early_says_so_and_goes_on_once_the_reason_is_gone(cache, tmp_path, monkeypatch):
    def refuse_round_two(home, request, weights):
        if request.task.round == 2:
            raise UserError("not today")
        return answer(home, request, weights)

    with monkeypatch.context() as broken:
        broken.setattr("cmrfed.door.answering.answer", refuse_round_two)
        run = simulate(tiny_run_config(cache), tmp_path)
    (why,) = run.early_ends().values()
    assert re.fullmatch(r"after 1 of 2 rounds: round 2 got no update \(GE: .*; Siemens: .*\)", why)
    assert [(line["round"], line["applied"]) for line in _rounds(run)][1:] == [(1, True), (2, False)]
    resume(run)
    assert run.early_ends() == {}
    assert [(line["round"], line["applied"]) for line in _rounds(run)][1:] == [(1, True), (2, False), (2, True)]
    assert Arm.open(run.arm_folder("private")).state().round == 2
