"""The coordinator's Flower app: one arm of a run, from its folder to its last checkpoint."""

import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from cmrfed.config import UserError
from cmrfed.federation import Arm, refuse_few_sites
from cmrfed.privacy import DistributedNoise

from .distributed import DistributedFederation
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
    refuse_few_sites(arm.config, len(arm.sites))
    distributed = isinstance(arm.plan, DistributedNoise)
    strategy = DistributedFederation(arm) if distributed else PrivateFederation(arm)
    arm.begin(strategy.state)
    _wait_for_sites(grid, arm)
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
    if context.run_config.get("membership_audit"):
        audit_membership(arm, grid)


def _wait_for_sites(grid: Grid, arm: Arm) -> None:
    """Wait until all expected sites are connected; in a simulation they already are."""
    deadline = time.monotonic() + arm.config.federation.round_timeout_s
    while len(list(grid.get_node_ids())) < len(arm.sites):
        if time.monotonic() > deadline:
            raise UserError(f"federation: fewer than {len(arm.sites)} sites connected in time; start the others' nodes")
        time.sleep(1)
