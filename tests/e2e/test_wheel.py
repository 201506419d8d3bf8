"""The built wheel, installed into an environment from which no clone can be seen, does what a clone does."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import flwr
import pytest
from tiny_runs import TINY_WORDS

from cmrfed.runs import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Holds the wheel, and the running environment's third-party packages by path: without what their own .pth files
    add, and so without an editable clone."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("cmrfed-*.whl")
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True)
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{Path(flwr.__file__).parents[1]}\n")
    for script in distribution("flwr").entry_points.select(group="console_scripts"):
        path = python.with_name(script.name)
        path.write_text(f"#!{python}\nimport sys\nfrom {script.module} import {script.attr}\nsys.exit({script.attr}())")
        path.chmod(0o700)
    return folder / "venv"


@pytest.fixture
def call(environment, cache, tmp_path):
    """Runs a program of that environment in an empty folder; returns what it printed."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(name, *words):
        command = [str(environment / "bin" / name), *words]
        done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_nothing_is_loose_in_site_packages_and_no_clone_is_seen(environment, call):
    (packages,) = environment.glob("lib/python*/site-packages")
    assert {path.name.split("-")[0] for path in packages.iterdir()} == {"cmrfed", "dependencies.pth"}
    found = call("python", "-c", "import cmrfed; print(cmrfed.__file__)").strip()
    assert Path(found) == packages / "cmrfed" / "__init__.py"


def test_a_federation_runs_from_an_empty_folder_to_its_report(call, cache, tmp_path):
    nothing = [f"evaluation.{kind}=null" for kind in ("fidelity", "utility", "leakage")]
    words = [*TINY_WORDS, f"data.root={cache}", "federation.rounds=1", *nothing]
    assert call("cmrfed", "simulate", *words).splitlines()[-1].startswith("report: ")
    run = Run.open(tmp_path / "runs" / "latest")
    assert run.arms() == ["epsilon_0", "private"]
    assert "What was promised, and how" in (run.folder / "report.html").read_text()
