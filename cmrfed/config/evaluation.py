"""What is measured of a generator, how hard, and what must hold before it is given away."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cmrfed.config.stage import Count, Fraction, Number, Positive, Stage
from cmrfed.keys import AsWritten
from cmrfed.members import ATTACKS, FEATURE_SPACES, OneOf

Space = Annotated[str, OneOf(FEATURE_SPACES)]
AttackName = Annotated[str, OneOf(ATTACKS)]


class FidelityConfig(Stage):
    """How close images are to real ones."""

    slices: int = Field(default=150, ge=10, le=10**9, description="most slices to compare")
    spaces: tuple[Space, ...] = Field(
        default=("efficientnet-lite0",),
        min_length=1,
        description="feature spaces; the first one's figures are the headline",
    )
    weights: dict[str, AsWritten] = Field(
        default={}, description="files of weights by space, for spaces that come without; nothing is downloaded"
    )
    pixels: bool = Field(default=True, description="compare each image with the real one of its mask")
    structure: bool = Field(default=True, description="compare what a cardiologist would measure")
    segmenter_steps: Number = Field(
        default=150,
        description="training steps of the segmenter that sees whether images follow their masks; 0: none",
    )
    reconstruct: bool = Field(default=False, description="have the generator restore held-out images too")

    @model_validator(mode="after")
    def _spaces_differ(self) -> "FidelityConfig":
        if len(set(self.spaces)) < len(self.spaces):
            raise ValueError(f"spaces: each once, found {', '.join(self.spaces)}")
        return self

    @model_validator(mode="after")
    def _weights_are_of_spaces(self) -> "FidelityConfig":
        if unknown := sorted(set(self.weights) - set(FEATURE_SPACES)):
            raise ValueError(f"weights: no space {unknown[0]!r}; choose among {', '.join(FEATURE_SPACES)}")
        return self


class UtilityConfig(Stage):
    """What images are worth to someone who trains a segmenter on them."""

    slices: int = Field(default=200, ge=10, le=10**9, description="most slices to train on, synthetic and real")
    steps: Count = Field(default=200, description="steps of each training")
    seeds: Count = Field(default=1, description="trainings of every segmenter; 3 for a paper")
    backbones: tuple[Literal["unet", "dynunet"], ...] = Field(
        default=("unet",), min_length=1, description="segmenters; the first is reported in full"
    )
    ratios: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        default=(), description="more mixtures: synthetic images to each real one, besides 1"
    )
    augmented: bool = Field(default=False, description="also train on strongly augmented real images")
    protocols: tuple[Literal["leave_one_vendor_out", "translation", "cross_dataset"], ...] = Field(
        default=(), description="also train without a vendor's or a data set's real images"
    )
    disease: bool = Field(default=True, description="also train a classifier of diseases")
    margin: Fraction = Field(default=0.05, description="Dice that may be lost by what is still called non-inferior")


class LeakageConfig(Stage):
    """What can be told of who was trained on."""

    attacks: tuple[AttackName, ...] | None = Field(
        default=("loss", "loss_curve", "secmi", "pia", "pian", "sima", "clid", "nearest_sample", "extraction"),
        description="attacks to run; null: all",
    )
    slices_per_patient: Count = Field(default=2, description="slices of each patient to attack")
    most_members: Number = Field(default=45, description="most trained-on patients to attack; 0: all")
    times: Count = Field(default=4, description="noise levels of the loss curve")
    draws: Count = Field(default=1, description="noises at each noise level")
    inversion_steps: Count = Field(default=2, description="steps in which images are inverted")
    shadow_models: int = Field(
        default=0, ge=0, le=1000, multiple_of=2, description="shadow models to train; an even number, 0: none"
    )
    shadow_steps: Count = Field(default=50, description="training steps of each shadow model")
    feature_space: Space | None = Field(
        default=None, description="compare samples in this space too; null: in pixels alone"
    )
    worst_patients: Number = Field(default=10, description="how many of the most exposed patients to list, by a hash")


class CompositeConfig(Stage):
    """What each part weighs in the one composite score; only ratios matter."""

    fidelity: Positive = Field(default=1.0, description="weight of closeness to real images")
    utility: Positive = Field(default=1.0, description="weight of usefulness for training")
    privacy: Positive = Field(default=1.0, description="weight of how little the attacks found")


class EvaluationConfig(Stage):
    """What the central evaluator measures, and how hard; a part that is null is left out."""

    fidelity: FidelityConfig | None = FidelityConfig()
    utility: UtilityConfig | None = UtilityConfig()
    leakage: LeakageConfig | None = LeakageConfig()
    composite: CompositeConfig = CompositeConfig()
    arms: Literal["all", "own"] = Field(
        default="all", description="which of a run's arms are measured; own: the one that the run is about"
    )
    bootstrap: int = Field(default=1000, ge=100, le=10**6, description="replicates behind each interval over patients")
    show_real_images: bool = Field(
        default=False, description="show real images in the report; do not share such a report"
    )


class ScreeningConfig(Stage):
    """Images drawn again, or left out, in which a segmenter that learnt from phantoms does not find their masks."""

    dice: Fraction = Field(default=0.6, description="least Dice of what is found with what was asked for")
    tries: Count = Field(default=4, description="how often a slice is drawn, at most")


class ReleasePolicy(Stage):
    """What must hold before a generator may leave; else nothing is written.

    An attack has found a leak when the whole 95 % interval of its AUC, or of its true-positive rate at 1 % false
    positives, is above `blind_auc` or `blind_tpr`. Where a classifier that never saw the generator reaches the attack's
    AUC, that AUC shows how two groups of patients differ, and is no reason; its rate stays one.
    """

    maximum_epsilon: Positive = Field(
        default=10.0, description="most that any patient may have spent, by the sites' ledgers"
    )
    maximum_delta: Fraction = Field(default=1e-3, description="largest delta of the run")
    attacks: tuple[AttackName, ...] = Field(default=("loss",), description="attacks that must have been run")
    minimum_members: int = Field(default=20, ge=2, description="fewest patients of an attack, trained on and not")
    blind_auc: float = Field(
        default=0.5, ge=0.5, lt=1, description="an attack finds a leak when its whole 95 % interval lies above"
    )
    blind_tpr: Fraction = Field(default=0.1, description="the same for its true positives at 1 % false positives")
    with_scores: bool | None = Field(
        default=None,
        description="print what was measured on patients, which no epsilon covers; null: of phantoms alone",
    )
    contact: AsWritten = Field(default="", description="whom to ask, printed in the documents")
    license: AsWritten = Field(default="see TERMS.md", description="licence, printed in the documents")
