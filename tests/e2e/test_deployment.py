"""The simulation's apps, run as hospitals would: a SuperLink, and for each site a SuperNode with a home of its own."""

import json
import shutil
import subprocess
from contextlib import contextmanager

from omegaconf import OmegaConf
from tiny_runs import tiny_run_config

from cmrfed import apps
from cmrfed.apps.simulations import flower
from cmrfed.apps.simulations.processes import stop
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.federation import Arm
from cmrfed.site import Home

THREE = {
    "sources": {"phantom": "phantom-three"},
    "phantom": {"patients_per_vendor": 4, "vendors": ["Siemens", "GE", "Philips"]},
}


def hospitals_of(run, root):
    """Homes with slices, policies and identities taken from a simulated run; each hospital's ledger starts empty."""
    homes = []
    for site in run.sites:
        home = root / site
        home.mkdir()
        for name in ("slices.safetensors", "site.yaml", "identity.pem"):
            shutil.copy(run.site_home(site) / name, home)
        policy = OmegaConf.load(home / "site.yaml")
        OmegaConf.save(OmegaConf.merge(policy, {"ledger": f"../ledger of {site}/ledger.sqlite"}), home / "site.yaml")
        homes.append(home)
    return homes


def arm_of(run, root):
    """The coordinator's folder, as before the first round."""
    arm = root / "runs" / "together" / "arms" / "private"
    arm.mkdir(parents=True)
    for name in ("arm.json", "initial.safetensors"):
        shutil.copy(run.arm_folder("private") / name, arm)
    return arm


@contextmanager
def supernodes(homes, root):
    """A SuperLink and one SuperNode a home; yields the environment for `flwr run`, and the nodes."""
    nodes = []
    with flower.superlink(root / "superlink.log", simulation=False) as (environment, port):
        try:
            for home in homes:
                command = [flower.tool("flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}"]
                command += ["--node-config", f"home={json.dumps(str(home))}", "--port", str(flower.free_ports(1)[0])]
                log = (home / "node.log").open("w")
                nodes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
            yield environment, nodes
        finally:
            for node in nodes:
                stop(node)


def start(arm, environment, root):
    command = [flower.tool("flwr"), "run", str(apps.FOLDER), "private", "--stream"]
    command += ["--run-config", f"arm={json.dumps(str(arm))}"]
    log = (root / "flwr.log").open("w")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=root)


def said(homes, root):
    logs = [root / "flwr.log", root / "superlink.log", *(home / "node.log" for home in homes)]
    return "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in logs)


def test_hospitals_train_together_and_each_keeps_its_own_ledger(cache, tmp_path):
    run = simulate(tiny_run_config(cache, privacy={"seed": None}), tmp_path)
    homes, arm = hospitals_of(run, tmp_path), arm_of(run, tmp_path)
    with supernodes(homes, tmp_path) as (environment, _):
        start(arm, environment, tmp_path).wait(300)
    assert (arm / "model.safetensors").exists(), said(homes, tmp_path)
    assert Arm.open(arm).state().round == 2
    for home in homes:
        assert [entry.round for entry in Home(home).ledger.rows()] == [1, 2]


def test_hospitals_share_noise_and_the_server_learns_the_sum(cache, tmp_path):
    """Three real nodes under secure aggregation; each phase of a round may be a new process of the site."""
    privacy = {"mode": "distributed", "seed": None, "dropouts": 1}
    federation = {"rounds": 1}
    config = tiny_run_config(cache, data=THREE, privacy=privacy, training={"local_steps": 1}, federation=federation)
    run = simulate(config, tmp_path)
    homes, arm = hospitals_of(run, tmp_path), arm_of(run, tmp_path)
    with supernodes(homes, tmp_path) as (environment, _):
        start(arm, environment, tmp_path).wait(500)
    assert (arm / "model.safetensors").exists(), said(homes, tmp_path)
    rounds = [json.loads(line) for line in (arm / "rounds.jsonl").read_text().splitlines()]
    assert [line["round"] for line in rounds] == [0, 1]
    assert {site: (told["reason"], told["loss"]) for site, told in rounds[1]["sites"].items()} == dict.fromkeys(
        run.sites, (None, None)
    )
    for home in homes:
        assert rounds[1]["sites"][home.name]["ledger_head"] == Home(home).ledger.head(), "kept for the hospital"
        assert [(row.round, row.event.noise) for row in Home(home).ledger.rows()] == [(1, "distributed")]
