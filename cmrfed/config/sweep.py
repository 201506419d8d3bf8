"""What a sweep over privacy budgets is made of."""

from typing import Annotated, Literal

from pydantic import Field

from cmrfed.config.stage import Count, Number, Positive, Stage


class SweepConfig(Stage):
    """Which runs there are, and how they are shared out. Each is the composed run at one budget, with noise anew."""

    epsilons: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        default=(1.0, 3.0, 8.0), description="budgets"
    )
    modes: Annotated[tuple[Literal["local", "distributed"], ...], Field(min_length=1)] = Field(
        default=("local", "distributed"), description="who adds the noise, as privacy.mode"
    )
    noises: Count = Field(default=5, description="runs of each mode and budget, which differ by their noise alone")
    without_privacy: bool = Field(default=True, description="one more run by recipe=none: what patients could teach")
    hearts: Number = Field(default=200, description="phantom hearts whose own images are compared too; 0: none")
    launcher: Literal["joblib", "submitit"] = Field(
        default="joblib", description="where runs are done: on this machine, or as jobs of SLURM"
    )
    jobs: Count = Field(default=1, description="runs at once")
