"""What clinicians are shown who review whether hearts are plausible."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from cmrfed.config.anatomy import Diseases
from cmrfed.config.stage import Stage

Severity = Annotated[float, Field(ge=0, le=1)]


class PlausibilityConfig(Stage):
    """What mode=plausibility shows."""

    hearts: int = Field(
        default=40, ge=0, le=1000, description="hearts to rate at most, half of them real where there are real ones"
    )
    orderings: int = Field(
        default=8, ge=0, le=200, description="people whose heart is to be put in order of severity, diseases in turn"
    )
    severities: Annotated[tuple[Severity, ...], Field(min_length=2, max_length=8)] = Field(
        default=(0.0, 0.25, 0.5, 0.75, 1.0), description="at which each of them is shown, ascending"
    )
    pathology: Diseases = Field(
        default=("DCM", "HCM", "MINF", "RV"),
        min_length=1,
        description="diseases that are put in order, and which the rated synthetic hearts have, beside healthy ones, "
        "where no real one says it",
    )
    real: bool = Field(
        default=True, description="false: no patient is shown, and the page may go wherever the generator may"
    )

    @model_validator(mode="after")
    def _something_to_do(self) -> "PlausibilityConfig":
        if not all(low < high for low, high in pairwise(self.severities)):
            raise ValueError(f"severities: {list(self.severities)} do not ascend; give each once, the least first")
        if "NOR" in self.pathology:
            raise ValueError("pathology: NOR has no severity to put in order; leave it out")
        if not self.hearts and not self.orderings:
            raise ValueError("hearts: with orderings=0 too nothing is shown; give one of the two")
        if self.hearts == 1:
            raise ValueError("hearts: 1 cannot be half real and half synthetic; give 0, or 2 and more")
        return self
