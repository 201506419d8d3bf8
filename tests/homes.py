"""Sites' home folders for tests, with toy slices, a policy and an identity."""

import json
from pathlib import Path
from typing import Any

from conftest import toy_slices
from flwr.app import Context, RecordDict, UserConfig
from flwr.supercore.task_identity import TaskIdentity
from omegaconf import OmegaConf

from cmrfed.apps.simulations.inprocess import InProcessGrid
from cmrfed.privacy.secure_aggregation import Identity
from cmrfed.site import Home
from cmrfed.site import answer as paid_answer

SIDES_KEY = f"{487:064x}"
"""A home's key that shares small groups of toy patients out evenly, so that few are enough for a test."""


def answer(home, request, weights):
    """What a site's own noise lets out; see `cmrfed.site.answer`."""
    return paid_answer(home, request, weights).value


def make_home(folder: Path, **policy: Any) -> Home:
    """A home of four patients that allows nearly anything; made again, it gets another policy."""
    if not (folder / "identity.pem").exists():
        toy_slices([2, 3, 2, 2]).save(folder / "slices.safetensors")
        Identity.create(folder / "identity.pem")
    allowed = {"name": "here", "maximum_epsilon": 1000.0, "maximum_delta": 2e-3, "ledger": "ledger/ledger.sqlite"}
    allowed |= {"minimum_patients": 1, "minimum_sites": 2}
    OmegaConf.save(allowed | {"execution": {"precision": "fp32"}} | policy, folder / "site.yaml")
    return Home(folder)


def make_peers(root: Path, names: list[str], **policy: Any) -> dict[str, Home]:
    """Homes that know each other, with patients of their own."""
    homes = {}
    for number, name in enumerate(names):
        toy_slices([2, 3, 2, 2], seed=number, first=4 * number).save(root / name / "slices.safetensors")
        Identity.create(root / name / "identity.pem")
    peers = {name: Identity.load(root / name / "identity.pem").public for name in names}
    for name in names:
        homes[name] = make_home(
            root / name, **{"name": name, "noise": ["local", "distributed"], "peers": peers} | policy
        )
    return homes


def network_of(homes: dict[str, Home]) -> InProcessGrid:
    """Flower without processes: nodes 2, 3, ... are the homes, in order."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    contexts = {number: context_of(home, number) for number, home in enumerate(homes.values(), start=2)}
    return InProcessGrid(contexts, lambda: None)


def context_of(home: Home, node: int) -> Context:
    """What Flower tells the app of a simulated run's only site, which is this home."""
    run = home.folder.parent / f"simulation of {home.folder.name}"
    if not run.exists():
        (run / "arms" / "arm").mkdir(parents=True)
        (run / "arms" / "arm" / "arm.json").write_text(json.dumps({"sites": ["only"]}), encoding="utf-8")
        (run / "sites").mkdir()
        (run / "sites" / "only").symlink_to(home.folder, target_is_directory=True)
    run_config = UserConfig({"arm": str(run / "arms" / "arm")})
    return Context(1, node, UserConfig({"partition-id": 0}), RecordDict(), run_config)
