"""Whoever runs it and in whatever terminal: a user without a name or a home, and encodings that lack characters."""

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cmrfed
from cmrfed.cache import cache_folder
from cmrfed.config import UserError

NOBODY = ["--reuid", "12345", "--regid", "12345", "--clear-groups"]


@pytest.mark.skipif(not shutil.which("setpriv") or os.getuid() != 0, reason="another user needs root and setpriv")
def test_a_user_without_name_and_home_imports_what_asks_for_them():
    nameless = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    script = "import cmrfed.generators, getpass; print(getpass.getuser())"
    command = ["setpriv", *NOBODY, sys.executable, "-c", script]
    environment = nameless | {"PYTHONPATH": str(Path(cmrfed.__file__).parents[1]), "MPLCONFIGDIR": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")
    assert done.stdout.strip() == "user-12345", done.stderr


def test_a_name_is_made_only_for_who_has_none(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    named = getpass.getuser()
    cmrfed._name_the_user()
    assert "USER" not in os.environ and getpass.getuser() == named

    def nobody():
        raise KeyError("getpwuid(): uid not found")

    with monkeypatch.context() as patch:
        patch.setattr(getpass, "getuser", nobody)
        patch.setenv("USER", "")
        cmrfed._name_the_user()
        assert os.environ["USER"] == f"user-{os.getuid()}"


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"CMRFED_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/cmrfed"),
        ({"HOME": "/c"}, "/c/.cache/cmrfed"),
    ],
)
def test_the_cache_is_where_the_user_wants_it_also_for_the_phantom(run_cmrfed, monkeypatch, variables, folder):
    for name in ("CMRFED_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)
    assert f" .root={folder} " in " ".join(run_cmrfed("simulate", "--help", "data")[1].split())


def test_without_any_home_it_is_said_which_variable_to_set(run_cmrfed, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CMRFED_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UserError, match="CMRFED_CACHE: is not set, nor is HOME"):
        cache_folder()
    monkeypatch.delenv("CMRFED_CACHE", raising=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_character_ends_a_command_whatever_the_terminals_encoding(tmp_path, encoding):
    folder = tmp_path / "Universität ☃ \udcfc"
    command = [sys.executable, "-m", "cmrfed.cli", "simulate", f"out={folder}", "--cfg", "job"]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"\nout: " in done.stdout
    command = [sys.executable, "-m", "cmrfed.cli", "simulate", f"seed={folder}"]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert done.stderr.startswith(b"cmrfed simulate: seed: ")
