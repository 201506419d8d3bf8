"""Which hearts are asked for, and on which voxels."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from cmrfed.config.stage import Stage

Disease = Literal["NOR", "DCM", "HCM", "MINF", "RV", "ASD", "TOF"]
"""What `cmrfed.anatomy.course` has a course of; the last two are one variant each of a congenital defect."""
VolumeMl = Annotated[float, Field(ge=20, le=500)]


class HeartConfig(Stage):
    """A heart; what is null is drawn, as it goes with the disease and with published ranges."""

    pathology: Disease = Field(
        default="NOR",
        description="healthy, dilated, hypertrophic, infarcted, with an overloaded right ventricle, an atrial septal "
        "defect, or a repaired tetralogy of Fallot",
    )
    severity: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="from 0, the same person in health, to 1, extreme"
    )
    sex: Literal["F", "M"] | None = Field(default=None, description="F or M")
    edv_ml: VolumeMl | None = Field(default=None, description="left ventricle's volume at end diastole")
    esv_ml: Annotated[float, Field(ge=5, le=450)] | None = Field(default=None, description="at end systole; or give ef")
    ef: Annotated[float, Field(ge=0.05, le=0.85)] | None = Field(
        default=None, description="left ventricle's ejection fraction; of the living, 0.05 to 0.85"
    )
    rv_edv_ml: VolumeMl | None = Field(default=None, description="right ventricle's volume at end diastole")
    wall_mm: Annotated[float, Field(ge=3, le=35)] | None = Field(
        default=None, description="left ventricle's wall at end diastole, its thickest AHA segment; or give mass_g"
    )
    mass_g: Annotated[float, Field(ge=20, le=500)] | None = Field(default=None, description="left ventricle's mass")

    @model_validator(mode="after")
    def _agree(self) -> "HeartConfig":
        if self.wall_mm is not None and self.mass_g is not None:
            raise ValueError("wall_mm: with mass_g beside it the wall is told twice; give one of them")
        if self.ef is not None and self.esv_ml is not None and self.edv_ml is not None:
            raise ValueError("ef: follows from edv_ml and esv_ml; give two of the three")
        if self.ef is not None and self.esv_ml is not None and not 20 <= self.esv_ml / (1 - self.ef) <= 500:
            raise ValueError(
                f"esv_ml: {self.esv_ml:g} at ef={self.ef:g} is an edv_ml of {self.esv_ml / (1 - self.ef):.0f}; hearts "
                "have 20 to 500"
            )
        if self.esv_ml is not None and self.edv_ml is not None and not 0.05 <= 1 - self.esv_ml / self.edv_ml <= 0.85:
            raise ValueError(
                f"esv_ml: {self.esv_ml:g} of edv_ml={self.edv_ml:g} is an ejection fraction of "
                f"{1 - self.esv_ml / self.edv_ml:.2f}; hearts have 0.05 to 0.85"
            )
        return self


def _between(value: Any) -> Any:
    """A number, or two in order."""
    numbers = value if isinstance(value, list | tuple) else [value]
    try:
        found = tuple(float(number) for number in numbers)
    except (TypeError, ValueError):
        found = ()
    if len(found) not in (1, 2) or found != tuple(sorted(found)):
        raise ValueError("give a number, or the least and the largest as [LOW,HIGH]")
    return found[0] if len(found) == 1 else found


Between = Annotated[float | tuple[float, float], BeforeValidator(_between)]
"""A number, or two between which it is drawn for every heart anew."""


def _listed(value: Any) -> Any:
    """One name is a list of one; "all" stands for every disease."""
    words = [value] if isinstance(value, str) else value
    return get_args(Disease) if words == ["all"] else words


class HeartsConfig(Stage):
    """Several hearts. Numbers are as in `HeartConfig`, or two between which each heart's own is drawn."""

    pathology: Annotated[tuple[Disease, ...], BeforeValidator(_listed)] = Field(
        default=("NOR",),
        min_length=1,
        description="NOR healthy, DCM dilated, HCM hypertrophic, MINF infarcted, RV overloaded right ventricle, ASD "
        "atrial septal defect, TOF repaired tetralogy of Fallot; one, or several in turn as HCM,DCM, or all",
    )
    severity: Between | None = Field(
        default=None,
        description="from 0, the same person in health, to 1, extreme; this and all below may be two numbers, "
        "[LOW,HIGH], between which each heart's is drawn; null: as it goes with the others and with published ranges",
    )
    sex: Literal["F", "M"] | None = Field(default=None, description="null: one or the other")
    edv_ml: Between | None = Field(default=None, description="left ventricle's volume at end diastole, 20 to 500")
    esv_ml: Between | None = Field(default=None, description="and at end systole, 5 to 450; or give ef")
    ef: Between | None = Field(default=None, description="left ventricle's ejection fraction, 0.05 to 0.85")
    rv_edv_ml: Between | None = Field(default=None, description="right ventricle's at end diastole, 20 to 500")
    wall_mm: Between | None = Field(
        default=None, description="wall at end diastole, of its thickest AHA segment, 3 to 35; or give mass_g"
    )
    mass_g: Between | None = Field(default=None, description="left ventricle's mass, 20 to 500")

    @model_validator(mode="after")
    def _possible(self) -> "HeartsConfig":
        """The hearts at both ends of every range."""
        for end in (min, max):
            try:
                self.heart(0, end)
            except ValidationError as error:
                fault = error.errors()[0]
                where = ".".join(map(str, fault["loc"]))
                message = fault["msg"].removeprefix("Value error, ")
                raise ValueError(f"{where}: {message}" if where else message) from None
        return self

    def heart(self, index: int, draw: Callable[[float, float], float]) -> HeartConfig:
        """The heart of that number; `draw` gives a number between two."""
        values = {name: getattr(self, name) for name in HeartConfig.model_fields if name != "pathology"}
        drawn: dict[str, Any] = {
            name: draw(*value) if isinstance(value, tuple) else value for name, value in values.items()
        }
        return HeartConfig(pathology=self.pathology[index % len(self.pathology)], **drawn)


class VoxelsConfig(Stage):
    """The voxels of a stack of masks."""

    slice_mm: Annotated[float, Field(ge=2, le=20)] = Field(default=8.0, description="from one slice to the next")
    pixel_mm: Annotated[float, Field(ge=0.5, le=4)] = Field(default=1.25, description="side of a pixel")
    size: int = Field(
        default=224, ge=32, le=1024, description="pixels a side; with 1.25 mm, room for the largest heart there is"
    )
