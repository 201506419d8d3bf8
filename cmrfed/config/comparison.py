"""How families of generators are compared, and how runs are shared out."""

from typing import Literal

from pydantic import Field

from cmrfed.config.stage import Count, Positive, Stage


class LaunchConfig(Stage):
    """Where several runs are done."""

    launcher: Literal["joblib", "submitit"] = Field(
        default="joblib", description="where runs are done: on this machine, or as jobs of SLURM"
    )
    jobs: Count = Field(default=1, description="runs at once")


class ComparisonConfig(LaunchConfig):
    """Equal budgets for all families; the privacy plan is the run's."""

    seconds: Positive | None = Field(
        default=300.0,
        description="how long each family trains on phantoms, and how long again on patients without privacy, on one "
        "core of this machine; null: as many steps as the run's stages say",
    )
    private: bool = Field(default=True, description="train each with privacy too, by one plan for all")
