"""A run that is killed or told to end, by a scheduler or a closed terminal, leaves nothing behind and can go on."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runtime import runtime_processes, wait_for_none_but
from tiny_runs import TINY_WORDS

CMRFED = Path(sys.executable).with_name("cmrfed")


@pytest.fixture
def start(cache, tmp_path):
    """Starts the same run, or goes on with it, until it has so many lines of rounds; returns the process."""
    started = []

    def call(rounds):
        command = [
            str(CMRFED),
            "simulate",
            "resume=auto",
            *TINY_WORDS,
            "federation.rounds=200",
            f"data.root={cache}",
            f"out={tmp_path}",
        ]
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        started.append(run)
        wait_for_rounds(run, tmp_path, rounds)
        return run

    yield call
    for run in started:
        run.kill()


def rounds_of(folder):
    """The lines of finished rounds."""
    texts = [
        path.read_text() for path in folder.glob("*/arms/private/rounds.jsonl") if not path.parents[2].is_symlink()
    ]
    return [json.loads(line) for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wait_for_rounds(run, folder, count, seconds=600):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and run.poll() is None:
        if len(rounds_of(folder)) >= count:
            return
        time.sleep(0.1)
    run.kill()
    raise AssertionError(f"round {count - 1} was not finished: {run.communicate()[0][-2000:]}")


def test_a_killed_run_leaves_no_process_goes_on_and_told_to_end_says_how_to_go_on(start, tmp_path):
    before = runtime_processes()
    run = start(rounds=2)  # the first line is the start's
    run.kill()
    assert wait_for_none_but(before) == set()
    run = start(rounds=len(rounds_of(tmp_path)) + 1)
    run.terminate()
    printed, _ = run.communicate(timeout=120)
    (record,) = tmp_path.glob("2*/run.json")
    assert f"run {record.parent.name} goes on" in printed
    assert run.returncode == 128 + signal.SIGTERM, printed
    assert "cmrfed simulate: ended by SIGTERM; finished rounds are kept" in printed
    assert f"resume={record.parent} goes on" in printed
    assert [line["round"] for line in rounds_of(tmp_path)] == list(range(len(rounds_of(tmp_path))))
    assert wait_for_none_but(before) == set()
