"""A disk that fills up while a site answers: nothing is lost, nothing leaves unpaid, and nobody pays twice."""

import contextlib
import subprocess

import pytest
from conftest import toy_plan
from homes import make_home

from cmrfed.core.packing import npy
from cmrfed.door import Question
from cmrfed.door.answering import answered
from cmrfed.generators import build_generator
from cmrfed.site import Home, Request
from cmrfed.training import LocalTask
from cmrfed.updates import read_weights

PAGE = 4096


@pytest.fixture
def disk(tmp_path):
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here, so that none is filled")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def question(tiny_generator_config, fp32_training):
    plan = toy_plan(seed=None, target_epsilon=1000.0)
    task = LocalTask(training=fp32_training, plan=plan, round=1, rounds=3)
    asked = Request(run="run", generator=tiny_generator_config, task=task)
    weights = read_weights(build_generator(tiny_generator_config, seed=0))
    arrays = {name: npy(array) for name, array in weights.items()}
    return Question(action="train", documents={"request": asked.model_dump_json()}, arrays=arrays)


def fill(disk, pages_left):
    """Leave so many pages free; returns the file that takes the rest."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    size = ballast.stat().st_size
    with ballast.open("r+b") as file:
        file.truncate(max(size - pages_left * PAGE, 0))
    return ballast


@pytest.mark.parametrize("pages_left", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144])
def test_however_little_is_left_the_answer_comes_once_there_is_room_and_was_paid_for_once(disk, question, pages_left):
    home = make_home(disk / "home").folder
    ballast = fill(disk, pages_left)
    first = answered(home, question).answer
    rows = Home(home).ledger.rows()
    assert len(rows) <= 1
    assert first.refused or len(rows) == 1, "nothing leaves unpaid"
    ballast.unlink()
    again = answered(home, question).answer
    assert not again.refused and [row.round for row in Home(home).ledger.verify().rows] == [1]
    assert first.refused or first == again
