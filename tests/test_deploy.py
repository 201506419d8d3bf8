"""What a hospital starts its door and node by says what it means, and the commands in it are ours."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmrfed.cli.commands import COMMANDS
from cmrfed.composition import compose_jobs, read_job, read_words

FOLDER = Path(__file__).parents[1] / "deploy" / "site"
UNITS = sorted(FOLDER.glob("*.service"))


def settings(unit):
    """(Key, value) of each line."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_units_command_is_one_of_ours_with_all_it_needs(unit):
    program, first, second, *words = shlex.split(dict(settings(unit))["ExecStart"])
    command = COMMANDS[f"{first} {second}"]
    given = read_words(words, command.stage, command.word)
    (job,) = compose_jobs(command.config, command.stage, given)
    assert read_job(job, command.stage, given.as_written)
    assert Path(program).name == "cmrfed"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(unit, tmp_path):
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not here")
    copy = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8").replace("/opt/cmrfed/bin/cmrfed", sys.executable)
    copy.write_text(text.replace("cmrfed-door.service\n", "\n"), encoding="utf-8")
    said = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True)
    assert unit.name not in said.stderr, said.stderr


def test_door_and_node_meet_at_one_socket_under_two_accounts_and_only_one_of_them_has_a_network():
    assert len(UNITS) == 2
    door, node = (dict(settings(unit)) for unit in UNITS)
    words = [dict(word.split("=", 1) for word in unit["ExecStart"].split() if "=" in word) for unit in (door, node)]
    assert words[0]["socket"] == words[1]["socket"]
    assert words[0]["node_account"] == node["User"] != door["User"]
    assert door["PrivateNetwork"] == "true" and door["RestrictAddressFamilies"] == "AF_UNIX"
    assert node["InaccessiblePaths"] == words[0]["home"] == door["ReadWritePaths"]
