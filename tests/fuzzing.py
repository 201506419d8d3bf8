"""Runs `datasets/fuzz.py` in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TIME_LIMIT_S = 600
"""Of a thousand corruptions; takes a twentieth of it on an idle core."""


def fuzz_report(folder: Path, corruptions: int, seed: int) -> dict[str, Any]:
    """What became of so many corruptions; no library may print what it thinks of a damaged file."""
    environment = {**os.environ, "PYTHONPATH": f"{HERE / 'datasets'}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fuzz", str(folder), str(corruptions), str(seed)]
    finished = subprocess.run(
        command, env=environment, cwd=HERE.parent, timeout=TIME_LIMIT_S, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert finished.stderr == ""
    return json.loads(finished.stdout)


def require_refused_or_read(report: dict[str, Any], corruptions: int) -> None:
    """Each in one line or not at all, soon, and in little memory."""
    assert report["failures"] == [], report["failures"]
    assert sum(report["outcomes"].values()) == corruptions, report["outcomes"]
    assert report["outcomes"]["refused"] > corruptions / 3, report["outcomes"]
    assert report["slowest"][0] < 10, report["slowest"]
    assert report["peak_gib"] < 2, report["peak_gib"]
