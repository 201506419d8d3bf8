"""Whole runs in real processes: Flower's runtime gives what the in-process engine gives, and leaves nothing behind."""

import json

import numpy as np
import pytest
from runtime import wait_for_none
from tiny_runs import tiny_run_config

from cmrfed.apps.simulations import flower
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.config import UserError
from cmrfed.federation import Arm
from cmrfed.updates import load_weights


@pytest.fixture(scope="module")
def runs(cache, tmp_path_factory):
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


def test_nothing_keeps_running_after_a_run(runs):
    assert wait_for_none() == set()


def test_a_run_that_fails_on_the_server_is_an_error_that_names_its_log(runs, tmp_path):
    """`flwr run` reports success even then."""
    record = Arm.open(runs["ray"].arm_folder("private"))
    plan = json.loads((record.folder / "arm.json").read_text())
    (tmp_path / "arm.json").write_text(json.dumps(plan))  # without the weights it should start from
    with pytest.raises(UserError, match=r"the run did not finish: .*initial\.safetensors.* See .*flower\.log"):
        flower.run_on_flower(tmp_path, 2, record.config.federation, record.config.training, lambda: None)
