"""The simulation's apps, run as hospitals would: a SuperLink, and for each site a SuperNode with a home of its own."""

import json
import shutil
import subprocess

import pytest
from tiny_runs import tiny_run_config

from cmrfed.federation import Arm
from cmrfed.privacy import Ledger
from simulations import flower
from simulations.simulate import simulate


@pytest.fixture(scope="module")
def hospitals(cache, tmp_path_factory):
    """Two homes with prepared slices and policies, taken from a simulated run; the ledgers start empty."""
    run = simulate(tiny_run_config(cache, privacy={"seed": None}), tmp_path_factory.mktemp("runs"))
    homes = []
    for site in run.sites:
        home = tmp_path_factory.mktemp(site)
        for name in ("slices.safetensors", "site.yaml"):
            shutil.copy(run.site_home(site) / name, home)
        homes.append(home)
    return run, homes


def test_hospitals_train_together_and_each_keeps_its_own_ledger(hospitals, tmp_path):
    run, homes = hospitals
    arm = tmp_path / "runs" / "together" / "arms" / "private"
    arm.mkdir(parents=True)
    for name in ("arm.json", "initial.safetensors"):
        shutil.copy(run.arm_folder("private") / name, arm)
    nodes = []
    with flower.superlink(tmp_path / "superlink.log", simulation=False) as (environment, port):
        try:
            for home in homes:
                command = [flower.tool("flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}"]
                command += ["--node-config", f"home={json.dumps(str(home))}", "--port", str(flower.free_ports(1)[0])]
                log = (home / "node.log").open("w")
                nodes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
            command = [flower.tool("flwr"), "run", str(flower.PROJECT), "private", "--stream"]
            command += ["--run-config", f"arm={json.dumps(str(arm))}"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        finally:
            for node in nodes:
                flower.stop(node)
    logs = "\n".join((home / "node.log").read_text()[-2000:] for home in homes)
    assert (arm / "model.safetensors").exists(), done.stdout[-3000:] + done.stderr[-2000:] + logs
    assert Arm.open(arm).resume().round == 2
    for home in homes:
        assert [entry.round for entry in Ledger(home / "ledger.sqlite").entries()] == [1, 2]
