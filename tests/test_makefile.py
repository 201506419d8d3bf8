"""What `make` does before it starts anything: it installs once, into an environment of the Python that is asked for."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
OURS = f'exec {sys.executable} "$@"'
STAMP = f".installed-{sys.version_info.major}.{sys.version_info.minor}"


def script(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o700)


@pytest.fixture
def make(tmp_path):
    """`make` in a folder of its own, with a Python that writes down what it is asked to install; returns the log."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "pyproject.toml").touch()
    script(tmp_path / "inside", 'case "$2" in pip) echo "$@" >> log; exit;; esac', OURS)
    script(tmp_path / "cmrfed", 'echo cmrfed "$@" >> log')
    new = "rm -rf .venv; mkdir -p .venv/bin; cp inside .venv/bin/python; cp cmrfed .venv/bin/"
    script(tmp_path / "python", f'case "$2" in venv) echo "$@" >> log; {new}; exit;; esac', OURS)

    def call(target="simulate", code=0):
        (tmp_path / "log").write_text("")
        done = subprocess.run(["make", target, "PYTHON=./python"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return (tmp_path / "log").read_text().splitlines(), done.stdout

    return call


INSTALL = ["-m pip install --quiet --upgrade pip", "-m pip install --editable .[dev]"]


def test_it_installs_once_says_what_that_takes_and_goes_on_with_a_run_that_was_cut_short(make):
    log, said = make()
    assert log == ["-m venv --clear .venv", *INSTALL, "cmrfed simulate resume=auto"]
    assert "GB of disk" in said
    log, said = make()
    assert log == ["cmrfed simulate resume=auto"] and "GB" not in said


def test_an_environment_of_another_python_is_made_again(make, tmp_path):
    script(tmp_path / ".venv" / "bin" / "python", "exit 1")
    (tmp_path / ".venv" / ".installed-3.1").touch()
    assert make()[0][0] == "-m venv --clear .venv"
    assert [path.name for path in (tmp_path / ".venv").glob(".installed*")] == [STAMP]


def test_an_installation_that_was_interrupted_goes_on_in_the_same_environment(make, tmp_path):
    make()
    (tmp_path / ".venv" / STAMP).unlink()
    assert make()[0] == [*INSTALL, "cmrfed simulate resume=auto"]


def test_a_python_that_is_too_old_is_named_and_nothing_is_touched(make, tmp_path):
    script(tmp_path / "python", 'case "$*" in *"(3, 11)"*) exit 1;; *) echo 3.9;; esac')
    (tmp_path / ".venv").mkdir()
    log, said = make(code=2)
    assert log == []
    assert "Python 3.11 or newer is needed, found 3.9" in said


def test_the_oldest_flower_that_is_tried_is_the_oldest_that_is_allowed():
    tried = re.search(r"flwr==([\d.]+)\.0\"", MAKEFILE.read_text()).group(1)
    allowed = re.search(r"flwr\[simulation\]>=([\d.]+),", MAKEFILE.with_name("pyproject.toml").read_text()).group(1)
    assert tried == allowed
