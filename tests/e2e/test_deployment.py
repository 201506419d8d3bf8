"""The simulation's apps, run as hospitals would: a coordinator's server, and each site a home, a door and a node."""

import json
from contextlib import ExitStack

import numpy as np
import pytest
from disrupted import THREE
from federations import Federation
from hospitals import CMRFED, approve, arm_of, door, hospitals_of, node, running, said, start, wait_for
from proxies import MISSING, NGINX
from tiny_runs import tiny_run_config

from cmrfed.apps.server.submission import SubmittedRun
from cmrfed.apps.simulations import flower
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.provision import Register
from cmrfed.site import Home
from cmrfed.updates import load_weights


@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_provisioned_hospitals_train_what_a_simulation_trains_though_a_door_is_killed_at_work(cache, tmp_path):
    """With certificates, registered keys, a proxy, doors and nodes. Noise is seeded, which real sites refuse, so that
    both can be compared."""
    config = tiny_run_config(cache, data=THREE, federation={"rounds": 5})
    run = simulate(config, tmp_path)
    homes = hospitals_of(run, tmp_path, allow_seeded_noise=True)
    with ExitStack() as stack:
        here = Federation(tmp_path, stack, run.sites)
        here.serve()
        for home in homes:
            site, socket = home.name, tmp_path / f"{home.name}.sock"
            here.join_and_register(site, node := f"node of {site}")
            assert not (home / "node.key").exists() and (tmp_path / node / "node.key").exists()
            assert "+publisher = " in approve(home), "the first bundle is shown whole"
            opened = stack.enter_context(door(home, socket))
            command = [*CMRFED, "site", "node", f"node={tmp_path / node}", f"socket={socket}"]
            stack.enter_context(running(command, tmp_path / f"{node}.log", env=here.environment))
        submitted = SubmittedRun.lay_out(config, here.coordinator, (), tmp_path / "submitted", None)
        command = [*CMRFED, "submit", f"resume={submitted.folder}"]
        following = stack.enter_context(running(command, tmp_path / "submit.log", env=here.environment))
        wait_for(lambda: Home(home).ledger.rows(), 300)  # the last site's first round is paid for
        opened.kill()
        opened.wait()
        socket.unlink()
        stack.enter_context(door(home, socket))
        assert following.wait(900) == 0, said(tmp_path)
    arm, told = submitted.arm, (tmp_path / "submit.log").read_text()
    assert arm.state().round == 5 and "round 5/5" in told and f"done: {arm.folder}" in told
    found, _ = load_weights(arm.folder / "model.safetensors")
    wanted, _ = load_weights(run.arm_folder("private") / "model.safetensors")
    for name, weight in wanted.items():
        np.testing.assert_allclose(found[name], weight, atol=1e-6)
    for home in homes:
        assert [entry.round for entry in Home(home).ledger.rows()] == [1, 2, 3, 4, 5]
        assert Register(here.coordinator.server).heads[home.name] == Home(home).ledger.head(), "kept for the hospital"


def test_hospitals_share_noise_and_the_server_learns_the_sum(cache, tmp_path):
    """Three real nodes under secure aggregation."""
    privacy = {"mode": "distributed", "seed": None, "dropouts": 1}
    config = tiny_run_config(cache, data=THREE, privacy=privacy, training={"local_steps": 1}, federation={"rounds": 1})
    run = simulate(config, tmp_path)
    homes, arm = hospitals_of(run, tmp_path), arm_of(run, tmp_path)
    with ExitStack() as stack:
        environment, port = stack.enter_context(flower.superlink(tmp_path / "superlink.log", simulation=False))
        for home in homes:
            approve(home)
            socket = tmp_path / f"{home.name}.sock"
            stack.enter_context(door(home, socket))
            stack.enter_context(node(port, socket, tmp_path / f"node of {home.name}.log"))
        start(arm, environment, tmp_path).wait(900)
    assert (arm / "model.safetensors").exists(), said(tmp_path)
    rounds = [json.loads(line) for line in (arm / "rounds.jsonl").read_text().splitlines()]
    assert [line["round"] for line in rounds] == [0, 1]
    assert {site: (told["reason"], told["loss"]) for site, told in rounds[1]["sites"].items()} == dict.fromkeys(
        run.sites, (None, None)
    )
    for home in homes:
        assert rounds[1]["sites"][home.name]["ledger_head"] == Home(home).ledger.head(), "kept for the hospital"
        assert [(row.round, row.event.noise) for row in Home(home).ledger.rows()] == [(1, "distributed")]
