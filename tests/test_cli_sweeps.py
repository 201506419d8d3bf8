"""A sweep runs a command for each value, names each run by what was swept, and compares the runs."""

from pathlib import Path

import pytest

from cmrfed import cli
from cmrfed.config import RunConfig, UserError
from cmrfed.runs import new_run_folder


@pytest.fixture
def sweep(run_cmrfed, monkeypatch):
    """Sweep over a simulate that only makes its folder; what was printed, by code, and what was compared."""
    compared = []

    def simulate(command):
        if command.seed == 13:
            raise UserError("seed: bad luck")
        return new_run_folder(Path(command.out), command.name)

    monkeypatch.setattr("cmrfed.cli.runs.simulate", simulate)
    monkeypatch.setattr("cmrfed.cli.runs.compare", compared.append)

    def call(*words):
        code, printed = run_cmrfed("simulate", "-m", *words)
        return code, printed, compared

    return call


def test_folders_are_named_by_what_was_swept_and_compared_at_the_end(sweep, tmp_path):
    code, printed, compared = sweep("privacy.target_epsilon=1,2", "federation=vendors,random", "out=runs, mine")
    assert code == 0, printed
    names = sorted(path.name.split("_", 2)[2] for path in (tmp_path / "runs, mine").iterdir())
    assert names == [
        f"privacy.target_epsilon={value}_federation={sites}" for value in (1, 2) for sites in ("random", "vendors")
    ]
    assert "1 of 4: privacy.target_epsilon=1_federation=vendors" in printed
    (told,) = compared
    assert {Path(folder) for folder in told.run} == set((tmp_path / "runs, mine").iterdir())
    assert Path(told.out).parent == tmp_path / "runs, mine"
    assert [path.name for path in tmp_path.iterdir()] == ["runs, mine"], "nothing else is left about"


def test_a_name_of_ones_own_comes_first_and_any_value_makes_a_safe_name(sweep, tmp_path):
    code, printed, _ = sweep("generator.channels=[8,16],[16,32]", "name=wide")
    assert code == 0, printed
    names = sorted(path.name.split("_", 2)[2] for path in (tmp_path / "runs").iterdir())
    assert names == ["wide_generator.channels=16-32", "wide_generator.channels=8-16"]


def test_all_values_are_checked_before_the_first_run(sweep, tmp_path):
    code, printed, _ = sweep("privacy.sample_rate=0.1,1.5")
    assert code == 2
    assert printed == "cmrfed simulate: privacy.sample_rate: Input should be less than or equal to 1 (found 1.5)\n"
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_is_told_and_the_others_go_on(sweep, tmp_path):
    code, printed, compared = sweep("seed=1,13,2")
    assert code == 2
    assert "cmrfed simulate: seed: bad luck" in printed
    assert len(compared[0].run) == 2


def test_one_run_alone_is_not_compared(sweep, tmp_path):
    code, _, compared = sweep("seed=1,13")
    assert (code, compared) == (2, [])


def test_only_what_can_be_told_apart_is_swept(sweep):
    assert "out: " not in sweep("out=a,b", "seed=1,2")[1], "a path is one path, commas and all"
    assert "several values" in sweep("seed=interval(0,1)")[1]


def test_a_sweep_says_what_its_private_runs_cost_together_before_the_first_begins():
    def job(**privacy):
        return RunConfig(data={"root": ".", "sources": {}}, privacy=privacy)

    jobs = [job(mode="local", target_epsilon=epsilon, delta=1e-4) for epsilon in (1.0, 2.0, 8.0)]
    assert "3 private runs: on the same patients at most epsilon 11 at delta 0.0003 together" in cli.total_of(jobs)
    assert cli.total_of([job(mode="none")] * 2) == ""
