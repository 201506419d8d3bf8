"""What has not been clipped cannot be noised, and what has not been paid for fits into no message: mypy says so."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BEGINNING = """
import numpy as np
import torch
from cmrfed.door.answering import _masked, _update
from cmrfed.privacy import Clipped, Noised, Paid, PrivacyPlan, SecureRandom
from cmrfed.training import LocalRun
plan: PrivacyPlan
run: LocalRun
"""


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """Of each line, what mypy says of it."""
    lines = [
        "plan.noised(torch.zeros(3), plan.clipping, SecureRandom())",
        "plan.mean(torch.zeros(3), plan.clipping)",
        "plan.mean(Clipped(torch.zeros(3)), plan.clipping)",
        "_update(run)",
        "_masked(np.zeros(3))",
        "plan.mean(plan.noised(Clipped(torch.zeros(3)), plan.clipping, SecureRandom()), plan.clipping)",
        "_update(Paid(run, 'receipt'))",
    ]
    folder = tmp_path_factory.mktemp("types")
    (folder / "leak.py").write_text(BEGINNING + "\n".join(lines), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(REPOSITORY / "pyproject.toml"),
        str(folder / "leak.py"),
    ]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    first = BEGINNING.count("\n") + 1
    return {
        line: [one for one in said.splitlines() if f"leak.py:{first + place}: error" in one]
        for place, line in enumerate(lines)
    }


def test_what_skips_a_state_is_refused_and_what_went_through_all_is_not(errors):
    *skipping, through, paid = errors
    assert all(len(errors[line]) == 1 and "arg-type" in errors[line][0] for line in skipping), errors
    assert errors[through] == errors[paid] == []
