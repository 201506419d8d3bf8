"""The coordinator's Flower app: one arm of a run, from its folder to its last checkpoint."""

import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from cmrfed.config import UserError
from cmrfed.federation import Arm, refuse_few_sites
from cmrfed.privacy import DistributedNoise
from cmrfed.provision import Register
from cmrfed.runs import at_work

from .distributed import DistributedFederation
from .exchange import PersistentGrid
from .membership_audit import audit_membership
from .strategy import PrivateFederation, TooFewReplies, to_record

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds that the arm's last checkpoint has not seen yet; with `membership_audit`, have
    the sites attack what came of them."""
    if not context.run_config["arm"]:
        raise UserError("run config: arm is empty; give the absolute path of an arm's folder, runs/<run>/arms/<arm>")
    arm = Arm.open(Path(str(context.run_config["arm"])))
    grid = PersistentGrid(grid)
    with at_work(arm.folder):  # two servers would each ask the sites for the same rounds
        _run(grid, arm, _register(context))
        if context.run_config.get("membership_audit"):
            audit_membership(arm, grid, _register(context))


def _run(grid: Grid, arm: Arm, register: Register) -> None:
    refuse_few_sites(arm.config, len(arm.sites))
    distributed = isinstance(arm.plan, DistributedNoise)
    strategy = (DistributedFederation if distributed else PrivateFederation)(arm, register)
    arm.begin(strategy.state)
    _wait_for_sites(grid, arm, register)
    remaining = arm.config.federation.rounds - strategy.state.round
    if remaining > 0:
        try:
            strategy.start(
                grid,
                to_record(strategy.state.weights),
                num_rounds=remaining,
                timeout=arm.config.federation.round_timeout_s,
            )
        except TooFewReplies as stop:
            arm.note_stop(strategy.state, str(stop))
    arm.finish(strategy.state)


def _register(context: Context) -> Register:
    """The coordinator's, where the run names one; with none a site is whoever says so, as in a simulation."""
    folder = str(context.run_config.get("register") or "")
    return Register(Path(folder)) if folder else Register()


def _wait_for_sites(grid: Grid, arm: Arm, register: Register) -> None:
    """Wait until all expected sites are connected, or for as long as a round may take; in a simulation they already
    are. Who is late may still come while a round is short of answers."""
    deadline = time.monotonic() + arm.config.federation.round_timeout_s
    while (present := len(register.among(grid.get_node_ids(), arm.sites))) < len(arm.sites):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    if present < arm.minimum_replies:
        raise UserError(
            f"federation: {present} of the {len(arm.sites)} sites connected in time, and a round needs "
            f"{arm.minimum_replies}; start the others' nodes"
        )
