"""What is killed or told to end, by a scheduler or a closed terminal, leaves nothing behind and can go on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from runtime import runtime_processes, wait_for_none
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
    run = start(rounds=2)  # the first line is the start's
    assert runtime_processes(), "the runtime is at work, and is seen"
    run.kill()
    assert wait_for_none() == set()
    run = start(rounds=len(rounds_of(tmp_path)) + 1)
    run.terminate()
    printed, _ = run.communicate(timeout=120)
    (record,) = tmp_path.glob("2*/run.json")
    assert f"run {record.parent.name} goes on" in printed
    assert run.returncode == 128 + signal.SIGTERM, printed
    assert "cmrfed simulate: ended by SIGTERM; finished rounds are kept" in printed
    assert f"resume={record.parent} goes on" in printed
    applied = [line["round"] for line in rounds_of(tmp_path) if line["applied"]]  # others were asked for again
    assert applied == list(range(len(applied)))
    assert wait_for_none() == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_command_told_to_end_ends_its_workers_too_and_says_so(tmp_path, number):
    command = [CMRFED, "data", "phantom", str(tmp_path / "out"), "patients=1000"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob("*_gt.nii.gz")):  # hearts are being drawn by workers
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.1)
        run.send_signal(number)
        _, said = run.communicate(timeout=120)
        assert f"cmrfed data phantom: ended by {number.name}" in said
        assert run.returncode == 128 + number
        assert wait_for_none_left(run.pid, seconds=60), "workers go on without the command that started them"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


def wait_for_none_left(group, seconds):
    """Whether every process of a group ends within some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_process_of_the_engine_ends_with_all_it_started_when_we_are_killed():
    """Also what leads a session of its own, and what does not end when it is told to."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {stubborn!r}], "
    parent += "start_new_session=True); time.sleep(600)"
    code = "import subprocess, sys, time; from cmrfed.core.processes import guarded\n"
    code += f"subprocess.Popen(guarded([sys.executable, '-c', {parent!r}])); time.sleep(600)"
    us = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    us.stdout.readline()  # the last of them is there
    started = psutil.Process(us.pid).children(recursive=True)
    try:
        assert len(started) == 3
        us.send_signal(signal.SIGKILL)
        assert psutil.wait_procs(started, timeout=90)[1] == []
    finally:
        for one in (us, *started):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        us.wait()
