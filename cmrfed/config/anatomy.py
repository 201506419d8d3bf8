"""Which hearts are asked for, and on which voxels."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from cmrfed.config.stage import Stage, UserError

Disease = Literal["NOR", "DCM", "HCM", "MINF", "RV", "ASD", "TOF"]
"""What `cmrfed.anatomy.course` has a course of; the last two are one variant each of a congenital defect."""
VolumeMl = Annotated[float, Field(ge=20, le=500)]
_TRIES = 1000
_SURFACE_M2 = (1.0, 3.0)
_BODY_MASS_INDEX = (12.0, 70.0)


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
    age: Annotated[float, Field(ge=18, le=95)] | None = Field(
        default=None, description="in years; volumes fall with it, and the muscle stays"
    )
    height_cm: Annotated[float, Field(ge=120, le=220)] | None = Field(
        default=None, description="with weight_kg: volumes and mass go with the body's surface"
    )
    weight_kg: Annotated[float, Field(ge=30, le=250)] | None = Field(default=None, description="with height_cm")
    body_surface_m2: Annotated[float, Field(ge=_SURFACE_M2[0], le=_SURFACE_M2[1])] | None = Field(
        default=None, description="instead of height_cm and weight_kg"
    )
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

    @model_validator(mode="after")
    def _body(self) -> "HeartConfig":
        if (self.height_cm is None) != (self.weight_kg is None):
            given, missing = ("weight_kg", "height_cm") if self.height_cm is None else ("height_cm", "weight_kg")
            raise ValueError(f"{given}: tells the body's surface only with {missing}; give both, or body_surface_m2")
        if self.height_cm is None:
            return self
        if self.body_surface_m2 is not None:
            raise ValueError("body_surface_m2: follows from height_cm and weight_kg; leave it out, or both of these")
        for found, (low, high), what in (
            (self.bmi, _BODY_MASS_INDEX, "body mass index of {:.0f} kg/m2"),
            (self.surface_m2, _SURFACE_M2, "body surface of {:.1f} m2"),
        ):
            if found is not None and not low <= found <= high:
                raise ValueError(
                    f"weight_kg: {self.weight_kg:g} at height_cm={self.height_cm:g} is a {what.format(found)}; adults "
                    f"have {low:g} to {high:g}"
                )
        return self

    @property
    def bmi(self) -> float | None:
        """Body mass index in kg/m2; None where height and weight were not asked for."""
        if self.height_cm is None or self.weight_kg is None:
            return None
        return self.weight_kg / (self.height_cm / 100) ** 2

    @property
    def surface_m2(self) -> float | None:
        """The body's, of height and weight by Mosteller (N Engl J Med 1987, doi:10.1056/NEJM198710223171717)."""
        if self.height_cm is None or self.weight_kg is None:
            return self.body_surface_m2
        return math.sqrt(self.height_cm * self.weight_kg / 3600)


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


Diseases = Annotated[tuple[Disease, ...], BeforeValidator(_listed)]
"""One, several, or "all"."""


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where, message = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


class HeartsConfig(Stage):
    """Several hearts. Numbers are as in `HeartConfig`, or two between which each heart's own is drawn."""

    pathology: Diseases = Field(
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
    age: Between | None = Field(
        default=None, description="in years, 18 to 95: volumes fall with it; null: as in middle age"
    )
    height_cm: Between | None = Field(default=None, description="120 to 220, with weight_kg; null: of average size")
    weight_kg: Between | None = Field(default=None, description="30 to 250, with height_cm")
    body_surface_m2: Between | None = Field(default=None, description="1 to 3, instead of height_cm and weight_kg")
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
                self._drawn(0, end)
            except ValidationError as error:
                raise ValueError(_first_fault(error)) from None
        return self

    def heart(self, index: int, draw: Callable[[float, float], float]) -> HeartConfig:
        """The heart of that number; `draw` gives a number between two. What no heart has together is drawn again.

        Raises UserError where nearly all is such.
        """
        for _ in range(_TRIES):
            try:
                return self._drawn(index, draw)
            except ValidationError as error:
                fault = _first_fault(error)
        raise UserError(f"{fault} (the last of {_TRIES} that were drawn); give narrower ranges")

    def _drawn(self, index: int, draw: Callable[[float, float], float]) -> HeartConfig:
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
