"""The coordinating side of a run, without any network: where it starts, the global state, and how updates move it."""

from cmrfed.federation.coordinator import (
    Arm,
    ArmPlan,
    GlobalState,
    advance,
    distributed_update,
    load_state,
    refuse_few_sites,
    save_state,
    update_noise,
)
from cmrfed.federation.rounds import RoundLine, Traffic, epsilon_by_site, read_rounds

__all__ = [
    "Arm",
    "ArmPlan",
    "GlobalState",
    "RoundLine",
    "Traffic",
    "advance",
    "distributed_update",
    "epsilon_by_site",
    "load_state",
    "read_rounds",
    "refuse_few_sites",
    "save_state",
    "update_noise",
]
