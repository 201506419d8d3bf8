"""What a sweep over privacy budgets is made of."""

from typing import Annotated, Literal

from pydantic import Field

from cmrfed.config.comparison import LaunchConfig
from cmrfed.config.stage import Count, Positive


class SweepConfig(LaunchConfig):
    """Which runs there are, and how they are shared out. Each is the composed run at one budget, with noise anew."""

    epsilons: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        default=(1.0, 3.0, 8.0), description="budgets"
    )
    modes: Annotated[tuple[Literal["local", "distributed"], ...], Field(min_length=1)] = Field(
        default=("local", "distributed"), description="who adds the noise, as privacy.mode"
    )
    noises: Count = Field(default=5, description="runs of each mode and budget, which differ by their noise alone")
    without_privacy: bool = Field(default=True, description="one more run by recipe=none: what patients could teach")
    masks: Literal["hearts", "phantom", "patients"] = Field(
        default="hearts",
        description="what generators draw for: hearts as `cmrfed anatomy` makes them, which are nobody's, so that a "
        "release needs no patient's mask; the phantom's own scans; or the training patients' masks",
    )
    hearts: Count = Field(
        default=200, description="such hearts that are drawn for, and phantoms whose own images are compared"
    )
