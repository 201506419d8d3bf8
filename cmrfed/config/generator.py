"""The generator, its network, and how images are drawn from it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cmrfed.conditions import CONDITIONS
from cmrfed.config.data import MOST_TISSUES
from cmrfed.config.stage import Count, Decay, Stage
from cmrfed.keys import AsWritten
from cmrfed.members import FAMILIES, NETWORKS, SAMPLERS, SPACES, OneOf


class GeneratorConfig(Stage):
    """A generator family, its network, and what it is told."""

    family: Annotated[str, OneOf(FAMILIES)] = Field(
        default="flow", description="what learns: see configs/generator for each, and the paper it is from"
    )
    network: Annotated[str, OneOf(NETWORKS)] = Field(default="unet", description="the network that learns it")
    space: Annotated[str, OneOf(SPACES)] = Field(
        default="pixel", description="what the network sees: pixels, or what they are encoded to"
    )
    conditions: tuple[Annotated[str, OneOf(CONDITIONS)], ...] = Field(
        default=("mask", "vendor", "phase", "style"), description="what it is told of an image; of nothing: []"
    )
    levels: int = Field(
        default=1, ge=1, le=64, description="slices that are drawn together; above 1 the network must be one of volumes"
    )
    channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        default=(32, 64, 96),
        min_length=1,
        max_length=8,
        description="channels of each level, finest first; a transformer has the last one's width",
    )
    residual_blocks: int = Field(default=1, ge=1, le=16, description="blocks of each level")
    norm_groups: int = Field(
        default=8, ge=1, le=256, description="groups of every group norm; must divide all channels"
    )
    patch: int = Field(
        default=2, ge=1, le=32, description="side of the patches of pixels that are folded into channels"
    )
    condition_dropout: Decay = Field(
        default=0.1, description="share of rows trained without mask and condition, for guidance"
    )
    label_dropout: Decay = Field(
        default=0.0,
        description="chance that a structure of the mask is hidden in a row of training, for masks of some structures",
    )
    latent_channels: int = Field(default=4, ge=1, le=64, description="channels of encoded images")
    autoencoder: Literal["public", "private"] = Field(
        default="public",
        description="what encodes images learns from phantoms alone; or, in the first rounds, from patients too",
    )
    tissue_classes: int = Field(
        default=0, ge=0, le=MOST_TISSUES, description="follows preprocessing.tissue_classes; set that one"
    )
    trainable: str = Field(
        default="directions",
        pattern=r"^[a-z_]{1,100}$",
        description="group of the network's weights that is trained: all; adaptation, norms, condition embeddings, "
        "first and last layer; modulation, norms and embeddings; directions, few public ones of the modulation; "
        "control, a ControlNet's branch",
    )
    directions: int = Field(
        default=320,
        ge=1,
        le=4096,
        description="with trainable=directions: how many, and so how many numbers are noised",
    )
    init: AsWritten | None = Field(
        default="foundation",
        description="start from: foundation, public weights that come with the package; phantom, public pretraining "
        "of one's own; null, random weights; or a run's folder",
    )

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> "GeneratorConfig":
        if any(width % self.norm_groups for width in self.channels):
            raise ValueError(
                f"channels: each must be a multiple of norm_groups={self.norm_groups}, "
                f"found {self.channels}; change either"
            )
        return self


class SamplingConfig(Stage):
    """How images are drawn."""

    sampler: Annotated[str, OneOf(SAMPLERS)] = Field(
        default="euler",
        description="solver: euler, which is DDIM's; heun and midpoint, of second order, at two questions a step; "
        "dpm_solver, DPM-Solver++(2M), at one; adaptive, which takes long steps where it may",
    )
    steps: Count = Field(
        default=20,
        description="steps of the solver; of the adaptive one, at most; rounds in which tokens are filled in",
    )
    guidance: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="classifier-free guidance; 1 is none")
    shared_noise: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.75,
        description="share of the noise that slices of one heart have in common where stacks are drawn, so that they "
        "look alike; of families that begin from noise",
    )
    batch_size: Count = Field(default=64, description="images drawn at once")
