"""The coordinating side of a run, without any network: where it starts, the global state, and how updates move it."""

from cmrfed.federation.coordinator import (
    Arm,
    ArmPlan,
    GlobalState,
    advance,
    distributed_update,
    load_state,
    save_state,
    update_noise,
)

__all__ = ["Arm", "ArmPlan", "GlobalState", "advance", "distributed_update", "load_state", "save_state", "update_noise"]
