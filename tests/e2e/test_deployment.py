"""The simulation's apps, run as hospitals would: a SuperLink, and for each site a home, a door and a node."""

import json
from contextlib import ExitStack, contextmanager

import numpy as np
from hospitals import approve, arm_of, door, hospitals_of, node, said, start
from tiny_runs import tiny_run_config

from cmrfed.apps.simulations import flower
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.federation import Arm
from cmrfed.site import Home
from cmrfed.updates import load_weights

THREE = {
    "sources": {"phantom": "phantom-three"},
    "phantom": {"patients_per_vendor": 4, "vendors": ["Siemens", "GE", "Philips"]},
}


@contextmanager
def federation(homes, root):
    """A SuperLink, and for each home a door and a node; yields the environment for `flwr run`."""
    with ExitStack() as open_, flower.superlink(root / "superlink.log", simulation=False) as (environment, port):
        for home in homes:
            socket = root / f"{home.name}.sock"
            open_.enter_context(door(home, socket))
            open_.enter_context(node(port, socket, root / f"node of {home.name}.log"))
        yield environment


def trained(homes, arm, root, seconds):
    """Train the arm, whose app every hospital approved."""
    assert all("+publisher = " in approve(home) for home in homes), "the first bundle is shown whole"
    with federation(homes, root) as environment:
        start(arm, environment, root).wait(seconds)
    assert (arm / "model.safetensors").exists(), said(root)


def test_hospitals_train_together_what_a_simulation_trains_and_each_keeps_its_own_ledger(cache, tmp_path):
    """Noise is seeded, which real sites refuse, so that both can be compared."""
    run = simulate(tiny_run_config(cache), tmp_path)
    homes, arm = hospitals_of(run, tmp_path, allow_seeded_noise=True), arm_of(run, tmp_path)
    trained(homes, arm, tmp_path, 300)
    assert Arm.open(arm).state().round == 2
    found, _ = load_weights(arm / "model.safetensors")
    wanted, _ = load_weights(run.arm_folder("private") / "model.safetensors")
    for name, weight in wanted.items():
        np.testing.assert_allclose(found[name], weight, atol=1e-6)
    for home in homes:
        assert [entry.round for entry in Home(home).ledger.rows()] == [1, 2]


def test_hospitals_share_noise_and_the_server_learns_the_sum(cache, tmp_path):
    """Three real nodes under secure aggregation."""
    privacy = {"mode": "distributed", "seed": None, "dropouts": 1}
    config = tiny_run_config(cache, data=THREE, privacy=privacy, training={"local_steps": 1}, federation={"rounds": 1})
    run = simulate(config, tmp_path)
    homes, arm = hospitals_of(run, tmp_path), arm_of(run, tmp_path)
    trained(homes, arm, tmp_path, 300)
    rounds = [json.loads(line) for line in (arm / "rounds.jsonl").read_text().splitlines()]
    assert [line["round"] for line in rounds] == [0, 1]
    assert {site: (told["reason"], told["loss"]) for site, told in rounds[1]["sites"].items()} == dict.fromkeys(
        run.sites, (None, None)
    )
    for home in homes:
        assert rounds[1]["sites"][home.name]["ledger_head"] == Home(home).ledger.head(), "kept for the hospital"
        assert [(row.round, row.event.noise) for row in Home(home).ledger.rows()] == [(1, "distributed")]
