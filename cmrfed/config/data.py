"""Where volumes come from, and how they are brought to one grid and scale."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from cmrfed.config.stage import Count, Number, Positive, Seed, Stage
from cmrfed.keys import AsWritten

MOST_TISSUES = 8
"""Classes of tissue around the heart that may be told apart; more are noise."""

Scanner = Literal["Siemens", "Philips", "GE", "Canon"]
"""The vendors that `cmrfed.shapes` knows, and the phantom imitates."""


class PhantomConfig(Stage):
    """The built-in phantom, where that is the data."""

    patients_per_vendor: Count = Field(default=30, description="hearts of each vendor")
    vendors: tuple[Scanner, ...] = Field(
        default=("Siemens", "Philips", "GE", "Canon"), min_length=1, description="whose scanners are imitated"
    )
    seed: Seed = Field(default=0, description="decides the hearts; another one makes others")


class DataConfig(Stage):
    """Where the volumes are."""

    root: AsWritten = Field(description="folder of the data set, or the one that the sources are in")
    sources: dict[str, AsWritten] = Field(description="folder by data set, absolute or in root")
    unlabelled: bool = Field(
        default=False, description="take patients without a segmentation too, to learn images from"
    )
    phantom: PhantomConfig = PhantomConfig()

    @classmethod
    def idle(cls, values: Mapping[str, Any]) -> frozenset[str]:
        return frozenset() if "phantom" in (values.get("sources") or ()) else frozenset({"phantom"})


class PreprocessingConfig(Stage):
    """The common grid and scale of intensities that all images are brought to."""

    size: int = Field(default=64, ge=16, le=4096, multiple_of=8, description="pixels a side")
    field_of_view_mm: float = Field(default=150.0, gt=20, le=500, description="side of the grid, centred on the heart")
    bias_correction: bool = Field(
        default=False, description="first remove the coils' shading (N4); about a second a stack"
    )
    intensity: Literal["percentiles", "minmax", "zscore"] = Field(
        default="percentiles", description="which intensities inside the field of view become -1 and 1"
    )
    percentiles: tuple[float, float] = Field(
        default=(1.0, 99.0), description="the two percentiles of intensity=percentiles"
    )
    zscore_limit: Positive = Field(
        default=3.0, description="for intensity=zscore: standard deviations of the foreground either way"
    )
    phases: tuple[Literal["ED", "ES", "unknown"], ...] = Field(
        default=("ED", "ES", "unknown"), min_length=1, description="phases of the cardiac cycle to use"
    )
    central_slices: Number = Field(
        default=0, description="use so many slices from the middle of each case; 0: all that show a label"
    )
    tissue_classes: int = Field(
        default=0, ge=0, le=MOST_TISSUES, description="kinds of tissue around the heart that the generator is told of"
    )
    source_image: Literal["none", "phase", "scan", "contrast"] = Field(
        default="none",
        description="what a generator may be told as source_image: the same slice at the other phase; or, of phantoms, "
        "in another scanner's look, or T1-weighted",
    )
    unlabelled_centre: Literal["motion", "image"] = Field(
        default="motion", description="where the heart is without a mask: where it beats, or in the middle of the image"
    )

    @model_validator(mode="after")
    def _percentiles_ascend(self) -> "PreprocessingConfig":
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must ascend within 0..100, found {self.percentiles}")
        return self
