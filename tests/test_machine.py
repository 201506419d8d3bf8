"""`cmrfed doctor` finds what would end a long run, and says what to do, before anybody waits for one."""

import shutil
from collections import namedtuple

import pytest
import torch

from cmrfed import machine

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def threads():
    """As many as before: the check of speed takes one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def found(tmp_path):
    return {one.what: one for one in machine.check_machine(tmp_path / "runs")}


def test_a_machine_that_runs_these_tests_is_fit_and_nothing_is_written(run_in_one_line, tmp_path):
    code, printed = run_in_one_line("doctor", "out=somewhere/runs")
    assert code == 0, printed
    for what in ("Python", "packages", "processors", "memory", "GPU", "room", "cache", "speed", "ready"):
        assert what in printed
    assert not (tmp_path / "somewhere").exists()


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        ("nothing-that-exists>=1", "nothing-that-exists is not installed"),
        ("numpy>=9999", "where >=9999 is needed"),
        ("nothing-that-exists>=1; extra == 'mlflow'", ""),
        ("nothing-that-exists; python_version < '3'", ""),
    ],
)
def test_a_package_that_is_missing_or_too_old_is_named_and_one_that_is_not_needed_here_is_not(
    monkeypatch, needed, said
):
    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda _: ["numpy", needed])
    check = machine.check_packages()
    assert check.verdict == ("mend" if said else "good") and said in check.found


def test_a_full_disk_and_a_folder_that_cannot_be_made_are_to_mend(monkeypatch, tmp_path):
    (tmp_path / "runs").write_text("in the way", encoding="utf-8")
    assert "is a file, where a folder is needed" in found(tmp_path)["room"].found
    (tmp_path / "runs").unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - 2**30, 2**30))
    checks = found(tmp_path)
    assert checks["room"].verdict == "mend" and "1.0 GiB free" in checks["room"].found


def test_a_machine_that_computes_nonsense_is_not_called_ready(monkeypatch, run_in_one_line):
    honest = machine.synthesise

    def nonsense(*arguments):
        drawn = honest(*arguments)
        drawn.images[...] = float("nan")
        return drawn

    monkeypatch.setattr(machine, "synthesise", nonsense)
    code, printed = run_in_one_line("doctor")
    assert code == 1 and "to mend: speed" in printed
