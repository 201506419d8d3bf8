"""A run that is told to end, by a scheduler or a closed terminal, clears up after itself and says so."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CMRFED = Path(sys.executable).with_name("cmrfed")
TINY = [
    "data.phantom.patients_per_vendor=6",
    "data.phantom.vendors=[Siemens,GE]",
    "preprocessing.size=16",
    "generator.channels=[8,8]",
    "generator.norm_groups=4",
    "pretraining.mixed_slices=8",
    "pretraining.steps=3",
    "training.local_steps=1",
    "training.slices_per_patient=2",
    "training.precision=fp32",
    "privacy.minimum_patients=2",
    "privacy.declared_patients=5",
    "federation.rounds=200",
]


@pytest.fixture
def ended(cache, tmp_path):
    """(processes of Flower and Ray that a run left, its file of rounds, exit code, and what it printed)."""
    before = runtime_processes()
    command = [str(CMRFED), "simulate", *TINY, f"data.root={cache}", f"out={tmp_path}"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        rounds = wait_for_rounds(run, tmp_path, seconds=300)
        run.terminate()
        printed, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    return runtime_processes() - before, rounds, run.returncode, printed


def runtime_processes():
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {line for line in listed.splitlines() if any(name in line for name in ("flower-super", "flwr", "raylet"))}


def wait_for_rounds(run, folder, seconds):
    """The file of finished rounds, once it has the second (the first is the start's)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and run.poll() is None:
        for path in folder.glob("*/arms/private/rounds.jsonl"):
            if len(path.read_text().splitlines()) > 1:
                return path
        time.sleep(0.1)
    run.kill()
    raise AssertionError(f"no round was finished: {run.communicate()[0][-2000:]}")


def test_a_run_told_to_end_leaves_no_process_keeps_its_rounds_and_says_how_to_go_on(ended):
    left, rounds, code, printed = ended
    assert left == set()
    assert code == 128 + signal.SIGTERM, printed
    assert "finished rounds are kept (resume=RUN goes on)" in printed
    assert rounds.stat().st_size > 0
