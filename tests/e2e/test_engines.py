"""Whole runs in real processes: Flower's runtime gives what the in-process engine gives, and leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runtime import runtime_processes, wait_for_none_but
from tiny_runs import tiny_run_config

from cmrfed.config import UserError
from cmrfed.federation import Arm
from cmrfed.updates import load_weights
from simulations import flower
from simulations.simulate import simulate

ROOT = Path(flower.__file__).parents[1]


@pytest.fixture(scope="module")
def others_processes():
    """What other runs on this machine had going before ours."""
    return runtime_processes()


@pytest.fixture(scope="module")
def runs(cache, others_processes, tmp_path_factory):
    """A run by each engine, on a machine whose proxy reaches nobody."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
        return {
            engine: simulate(tiny_run_config(cache, federation={"engine": engine}), tmp_path_factory.mktemp(engine))
            for engine in ("inprocess", "ray")
        }


def test_ray_gives_what_the_in_process_engine_gives_for_the_same_seed(runs):
    inprocess, ray = (load_weights(run.folder / "model.safetensors")[0] for run in runs.values())
    for name, weights in inprocess.items():
        np.testing.assert_allclose(ray[name], weights, rtol=1e-4, atol=1e-6)


def test_both_engines_leave_the_same_ledgers_and_rounds(runs):
    def rounds(run):
        lines = (run.arm_folder("private") / "rounds.jsonl").read_text().splitlines()
        return [(json.loads(line)["round"], sorted(json.loads(line)["sites"])) for line in lines]

    assert rounds(runs["ray"]) == rounds(runs["inprocess"]) == [(0, []), (1, ["GE", "Siemens"]), (2, ["GE", "Siemens"])]


def test_nothing_keeps_running_after_a_run(others_processes, runs):
    assert wait_for_none_but(others_processes) == set()


def test_a_run_that_fails_on_the_server_is_an_error_that_names_its_log(runs, tmp_path):
    """`flwr run` reports success even then."""
    record = Arm.open(runs["ray"].arm_folder("private"))
    plan = json.loads((record.folder / "arm.json").read_text())
    (tmp_path / "arm.json").write_text(json.dumps(plan))  # without the weights it should start from
    with pytest.raises(UserError, match=r"the run did not finish: .*initial\.safetensors.* See .*flower\.log"):
        flower.run_on_flower(tmp_path, 2, record.config.federation, record.config.training, lambda: None)


def test_a_wheel_carries_the_library_and_its_configs_and_nothing_loose(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("cmrfed-*.whl"))
    listing = [sys.executable, "-m", "zipfile", "-l", str(wheel)]
    names = [
        line.split()[0] for line in subprocess.run(listing, capture_output=True, text=True).stdout.splitlines()[1:]
    ]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"cmrfed"}
    assert "cmrfed/configs/simulate.yaml" in names
    assert any(name.startswith("cmrfed/report/") and name.endswith((".jinja", ".html", ".j2")) for name in names)
