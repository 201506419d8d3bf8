"""`cmrfed simulate` at its ends: all rounds, fewer rounds, an interruption, and once more."""

import pytest
from finished_runs import lay_out, results

from cmrfed.report.material import read_material


@pytest.fixture
def run(tmp_path):
    """A trained and scored run, in the place of what would be trained."""
    return lay_out(tmp_path / "runs" / "toy", results())


@pytest.fixture
def simulate(run, run_cmrfed, monkeypatch):
    """The command, with everything slow replaced; `simulate.did` lists what was asked for."""

    def did(what, run):
        call.did.append(what)
        return run

    def call(*words):
        call.did = []
        code, printed = run_cmrfed("simulate", *words)
        return code, " ".join(printed.split())

    monkeypatch.setattr("cmrfed.apps.simulations.simulate.simulate", lambda config, out, name: did("began", run))
    monkeypatch.setattr("cmrfed.apps.simulations.simulate.resume", lambda run: did("went on", run))
    monkeypatch.setattr("cmrfed.api.evaluate_run", lambda *_: did("evaluated", read_material(run, False).results))
    return call


def test_a_whole_run_ends_with_its_report_and_code_0(simulate, run):
    code, printed = simulate()
    assert (code, simulate.did) == (0, ["began", "evaluated"])
    assert printed == f"report: {run.folder / 'report.html'}"


def test_a_run_that_stopped_early_is_evaluated_and_says_so_last_with_code_3(simulate, run):
    (run.arm_folder("private") / "stopped.txt").write_text("after 2 of 10 rounds: round 3 got no update\n")
    code, printed = simulate()
    assert (code, simulate.did) == (3, ["began", "evaluated"])
    assert "cmrfed simulate: arm private stopped after 2 of 10 rounds: round 3 got no update; " in printed
    assert printed.endswith(f"a site's own reason is in {run.folder}/sites/SITE/refusals.jsonl")
    assert (run.folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "cut_short", "did"),
    [
        ([], True, "began"),
        (["resume=auto"], True, "went on"),
        (["resume=auto"], False, "began"),
        (["resume=runs/toy"], False, "went on"),
    ],
)
def test_auto_goes_on_where_a_run_was_cut_short_and_else_begins(simulate, run, monkeypatch, words, cut_short, did):
    monkeypatch.setattr("cmrfed.api.interrupted_run", lambda *_: run if cut_short else None)
    assert simulate(*words)[0] == 0
    assert simulate.did == [did, "evaluated"]


def test_an_interrupted_evaluation_says_that_the_training_is_kept(simulate, run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cmrfed.api.evaluate_run", interrupted)
    code, printed = simulate()
    assert code == 130
    assert printed == (
        f"cmrfed simulate: interrupted; the training is kept, and cmrfed evaluate run={run.folder} measures it"
    )


def test_an_interruption_before_there_is_anything_to_keep_promises_nothing(simulate, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cmrfed.apps.simulations.simulate.simulate", interrupted)
    assert simulate() == (130, "cmrfed simulate: interrupted")
