"""The coordinating side of a run, without any network: where it starts, the global state, and how updates move it."""

from cmrfed.federation.coordinator import (
    Arm,
    ArmPlan,
    GlobalState,
    Traffic,
    advance,
    distributed_update,
    load_state,
    refuse_few_sites,
    save_state,
    update_noise,
)

__all__ = [
    "Arm",
    "ArmPlan",
    "GlobalState",
    "Traffic",
    "advance",
    "distributed_update",
    "load_state",
    "refuse_few_sites",
    "save_state",
    "update_noise",
]
