"""One frozen, validated dataclass a stage, and the one place that turns Hydra's config into them.

A config names things; it never names code. Every class refuses unknown keys, and every error is one line that names
the key, what was found and what is allowed. What a key means is its field's description, which `--help` shows.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from cmrfed.keys import AsWritten, all_keys, keys_of, nearest

MOST_TISSUES = 8
"""Classes of tissue around the heart that may be told apart; more are noise."""

Count = Annotated[int, Field(ge=1, le=10**9)]
Number = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]

Scanner = Literal["Siemens", "Philips", "GE", "Canon"]
"""The vendors that `cmrfed.shapes` knows, and the phantom imitates."""
Space = Literal["efficientnet-lite0", "inception-v3", "resnet50", "radimagenet-resnet50", "cardiac", "radiomics"]
"""The feature spaces of `fidelity.metrics`, by name, so that a wrong one is found before torch is imported."""
AttackName = Literal[
    "loss", "loss_curve", "secmi", "pia", "pian", "sima", "pfami", "fcre", "fcre_ssim", "clid", "gradient_norm",
    "gradient", "gradient_shadow", "lira", "rmia", "nearest_sample", "extraction", "nearest_sample_features",
    "extraction_features",
]  # fmt: skip
"""The attacks of `cmrfed.evaluation.leakage.attacks`, likewise."""


class UserError(Exception):
    """Something only the user can mend: one line that names the file or key, what was found and what to do.

    `exit_code` is what the command line then ends with.
    """

    exit_code = 2


class StoppedEarly(UserError):
    """A run that is whole but for some of its planned rounds, in `folder`. Its report is written, and says so too."""

    exit_code = 3

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


def not_readable(path: Path, error: BaseException, otherwise: str) -> UserError:
    """What to say of a file that could not be read: `otherwise`, unless the one thing wrong is who may read it."""
    if isinstance(error, PermissionError) or "(os error 13)" in str(error):  # as libraries written in Rust put it
        return UserError(f"{path}: this user may not read it (Permission denied); ask its owner, or chmod u+r")
    return UserError(otherwise)


class Stage(BaseModel):
    """A frozen, validated part of the configuration. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


class PhantomConfig(Stage):
    """The built-in phantom, where that is the data."""

    patients_per_vendor: Count = Field(default=24, description="hearts of each vendor")
    vendors: tuple[Scanner, ...] = Field(
        default=("Siemens", "Philips", "GE", "Canon"), min_length=1, description="whose scanners are imitated"
    )
    seed: Seed = Field(default=0, description="decides the hearts; another one makes others")


class DataConfig(Stage):
    """Where the volumes are."""

    root: AsWritten = Field(default=".", description="folder of the data set, or the one that the sources are in")
    sources: dict[str, AsWritten] = Field(description="folder by data set, absolute or in root")
    unlabelled: bool = Field(
        default=False, description="take patients without a segmentation too, to learn images from"
    )
    phantom: PhantomConfig = PhantomConfig()


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
    unlabelled_centre: Literal["motion", "image"] = Field(
        default="motion", description="where the heart is without a mask: where it beats, or in the middle of the image"
    )

    @model_validator(mode="after")
    def _percentiles_ascend(self) -> "PreprocessingConfig":
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must ascend within 0..100, found {self.percentiles}")
        return self


class GeneratorConfig(Stage):
    """A generator family and its network."""

    family: Literal["flow", "ddpm"] = Field(default="flow", description="rectified flow, or denoising diffusion")
    channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        default=(48, 96, 128), min_length=1, max_length=8, description="channels of each level of the U-Net"
    )
    residual_blocks: int = Field(default=1, ge=1, le=16, description="residual blocks of each level")
    norm_groups: int = Field(
        default=8, ge=1, le=256, description="groups of every group norm; must divide all channels"
    )
    patch: int = Field(
        default=2, ge=1, le=32, description="side of the patches of pixels that are folded into channels"
    )
    condition_dropout: Decay = Field(
        default=0.1, description="share of rows trained without mask and condition, for guidance"
    )
    tissue_classes: int = Field(
        default=0, ge=0, le=MOST_TISSUES, description="follows preprocessing.tissue_classes; set that one"
    )
    trainable: Literal["all", "adaptation", "modulation"] = Field(
        default="all",
        description="all weights; norms, condition embeddings, first and last layer; norms and embeddings",
    )
    init: AsWritten | None = Field(
        default=None,
        description="start from: null, random weights; phantom, public pretraining; or a run's folder",
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

    steps: Count = Field(default=20, description="steps of the solver: Euler (flow) or DDIM (ddpm)")
    guidance: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="classifier-free guidance; 1 is none")
    batch_size: Count = Field(default=64, description="images drawn at once")


class AdaptiveClipping(Stage):
    """A clipping norm that follows a private quantile of the patients' gradient norms.

    One more coordinate tells how many patients lie below the norm, which moves geometrically (`cmrfed.privacy.plan`).
    """

    quantile: Fraction = Field(
        default=0.5, description="quantile of the patients' norms that the clipping norm follows"
    )
    learning_rate: Positive = Field(default=0.2, description="how fast the norm follows, geometrically")
    share: Fraction = Field(default=0.1, description="share of the clipping norm spent on finding the quantile")
    range: float = Field(default=10.0, ge=1, allow_inf_nan=False, description="the factor within which the norm stays")


class PrivacyConfig(Stage):
    """What is promised to each patient, and the public constants that the promise rests on.

    Neighbouring data sets differ by one patient, added or removed.
    """

    mode: Literal["none", "local", "distributed"] = Field(
        default="local", description="no noise; each site adds all the noise it needs; the sites share the noise"
    )
    target_epsilon: Positive = Field(
        default=8.0, description="each patient's budget over the whole run; smaller is more private"
    )
    delta: Fraction = Field(
        default=1e-4, description="chance that epsilon fails; far below one in the number of patients"
    )
    sample_rate: float = Field(default=0.5, gt=0, le=1, description="each patient's chance of being in a step")
    noise_multiplier: Positive | None = Field(
        default=None, description="noise per unit of clipping norm; null: calibrated to target_epsilon"
    )
    max_grad_norm: Positive = Field(
        default=1.0, description="clipping norm: the most that one patient's gradient may weigh"
    )
    clipping: Literal["norm", "automatic", "per_layer"] = Field(
        default="norm", description="clip each gradient to the norm; scale it to the norm; scale each tensor of it"
    )
    adaptive: AdaptiveClipping | None = None
    declared_patients: Count = Field(
        default=24, description="public number of patients that a site is planned for; the true one stays there"
    )
    minimum_patients: Count = Field(default=8, description="sites with fewer patients are refused")
    dropouts: Number = Field(default=0, description="with mode=distributed: sites that may fail in a round")
    colluders: Number = Field(default=0, description="with mode=distributed: sites that may side with the server")
    accountant: Literal["prv", "rdp"] = Field(default="prv", description="how epsilon is counted; rdp is looser")
    seed: Seed | None = Field(default=None, description="for tests only: a run with seeded noise promises nothing")

    @model_validator(mode="after")
    def _delta_is_negligible(self) -> "PrivacyConfig":
        if self.mode != "none" and self.delta * self.declared_patients >= 1:
            raise ValueError(
                f"delta {self.delta:g} would allow one of {self.declared_patients} patients to be published outright; "
                f"choose delta below 1/declared_patients = {1 / self.declared_patients:g}"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_choose_the_norm(self) -> "PrivacyConfig":
        if self.adaptive and self.clipping != "norm":
            raise ValueError(f"adaptive clipping moves the norm of clipping=norm, found clipping={self.clipping}")
        return self


class ExecutionConfig(Stage):
    """How a computation runs, not what it computes: a site's own matter, whatever a server asks for."""

    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="number format; auto: bf16 where the device computes in it"
    )
    patient_gradients: Literal["auto", "loop", "vmap"] = Field(
        default="auto", description="whichever is faster; a patient at a time; several, where that rounds alike"
    )
    rows_at_once: int = Field(default=64, ge=1, le=65_536, description="rows together with patient_gradients=vmap")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$",
        description="auto: a GPU where there is one; or cpu, cuda, cuda:1 ...",
    )
    threads: int = Field(default=1, ge=1, le=1024, description="CPU threads of a site")


class TrainingConfig(ExecutionConfig):
    """One site's local run in a round. With privacy, each sampled patient gives slices x draws rows to a step."""

    local_steps: Count = Field(default=6, description="training steps of a site in each round")
    optimizer: Literal["adam", "sgd"] = Field(
        default="adam", description="with privacy sgd, which noise does not mislead"
    )
    learning_rate: Positive = Field(default=1e-3, description="step size of a site")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="how the learning rate changes over the rounds"
    )
    batch_size: Count = Field(default=32, description="without privacy: slices in a step")
    slices_per_patient: Count = Field(default=4, description="with privacy: slices drawn from a sampled patient")
    draws_per_slice: Count = Field(
        default=1, description="with privacy: times that each of these slices is used, at a noise level of its own"
    )

    @property
    def rows_of_patient(self) -> int:
        """Rows that a sampled patient gives to a step."""
        return self.slices_per_patient * self.draws_per_slice

    def executed_as(self, execution: ExecutionConfig) -> "TrainingConfig":
        """The same computation, run as `execution` says."""
        return self.model_copy(update={name: getattr(execution, name) for name in ExecutionConfig.model_fields})

    @property
    def execution(self) -> ExecutionConfig:
        """How it runs, alone."""
        return ExecutionConfig(**{name: getattr(self, name) for name in ExecutionConfig.model_fields})


class PretrainingConfig(Stage):
    """Public pretraining on the phantom, never the same heart twice, for all of its steps, however long they take."""

    steps: Count = Field(default=2400, description="training steps")
    batch_size: Count = Field(default=8, description="slices in a step")
    mixed_slices: Count = Field(default=512, description="fewest slices, of many hearts, that a batch is drawn from")
    label_noise_mm: float = Field(
        default=0.7, ge=0, le=5, description="how far masks' edges stray from the images', as hand-drawn ones do"
    )
    learning_rate: Positive = Field(default=1e-3, description="step size of Adam")
    ema_decay: Decay = Field(default=0.995, description="decay per step of the averaged weights")


class AggregationConfig(Stage):
    """How the sites' updates become the next global weights."""

    rule: Literal["mean"] = Field(default="mean", description="how updates are joined")
    server_learning_rate: Positive = Field(default=1.0, description="factor of the joined update")
    ema_decay: Decay = Field(default=0.5, description="decay per round of the averaged weights")


class FederationConfig(Stage):
    """Who takes part, and for how long."""

    rounds: Count = Field(default=10, description="rounds of the whole run")
    site_by: tuple[Literal["dataset", "vendor", "centre"], ...] = Field(
        default=("vendor",), min_length=1, description="one site for each combination of these"
    )
    random_sites: Number = Field(
        default=0, description="so many sites, patients drawn to them at random; 0: by site_by"
    )
    held_out_fraction: Fraction = Field(default=0.2, description="share of the patients that no training sees")
    engine: Literal["ray", "inprocess"] = Field(
        default="ray", description="each site in a process of its own, or all in this one"
    )
    arms: Literal["private", "all"] = Field(default="private", description="all: train without privacy too, to compare")
    round_timeout_s: Positive = Field(default=3600, description="longest wait for a round's sites, in seconds")
    largest_start_loss: Positive | None = Field(
        default=0.5,
        description="private rounds begin from no start with a higher held-out loss, as a part of that of the best "
        "predictor that sees one pixel at a time; null: from any",
    )


class FidelityConfig(Stage):
    """How close images are to real ones."""

    slices: int = Field(default=200, ge=10, le=10**9, description="most slices to compare")
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
        if unknown := sorted(set(self.weights) - set(get_args(Space))):
            raise ValueError(f"weights: no space {unknown[0]!r}; choose among {', '.join(get_args(Space))}")
        return self


class UtilityConfig(Stage):
    """What images are worth to someone who trains a segmenter on them."""

    slices: int = Field(default=600, ge=10, le=10**9, description="most slices to train on, synthetic and real")
    steps: Count = Field(default=300, description="steps of each training")
    seeds: Count = Field(default=1, description="trainings of every segmenter; 3 for a paper")
    backbones: tuple[Literal["unet", "dynunet"], ...] = Field(
        default=("unet",), min_length=1, description="segmenters; the first is reported in full"
    )
    ratios: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        default=(), description="more mixtures: synthetic images to each real one, besides 1"
    )
    augmented: bool = Field(default=True, description="also train on strongly augmented real images")
    protocols: tuple[Literal["leave_one_vendor_out", "translation", "cross_dataset"], ...] = Field(
        default=(), description="also train without a vendor's or a data set's real images"
    )
    disease: bool = Field(default=True, description="also train a classifier of diseases")
    margin: Fraction = Field(default=0.05, description="Dice that may be lost by what is still called non-inferior")


class LeakageConfig(Stage):
    """What can be told of who was trained on."""

    attacks: tuple[AttackName, ...] | None = Field(default=None, description="attacks to run; null: all")
    slices_per_patient: Count = Field(default=2, description="slices of each patient to attack")
    most_members: Number = Field(default=0, description="most trained-on patients to attack; 0: all")
    times: Count = Field(default=8, description="noise levels of the loss curve")
    draws: Count = Field(default=1, description="noises at each noise level")
    inversion_steps: Count = Field(default=4, description="steps in which images are inverted")
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
    bootstrap: int = Field(default=1000, ge=100, le=10**6, description="replicates behind each interval over patients")
    show_real_images: bool = Field(
        default=False, description="show real images in the report; do not share such a report"
    )


class RunConfig(Stage):
    """Everything one run is made from; its JSON in `run.json` repeats the run."""

    seed: Seed = Field(default=0, description="seed of everything but the privacy noise, which must not repeat")
    data: DataConfig
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    generator: GeneratorConfig = GeneratorConfig()
    sampling: SamplingConfig = SamplingConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    training: TrainingConfig = TrainingConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    aggregation: AggregationConfig = AggregationConfig()
    federation: FederationConfig = FederationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _generator_knows_the_tissues(self) -> "RunConfig":
        if self.generator.tissue_classes != self.preprocessing.tissue_classes:
            raise ValueError(
                f"generator.tissue_classes is {self.generator.tissue_classes} where preprocessing.tissue_classes is "
                f"{self.preprocessing.tissue_classes}; set the latter alone"
            )
        return self

    @model_validator(mode="after")
    def _grid_fits_the_network(self) -> "RunConfig":
        coarsest = self.generator.patch * 2 ** (len(self.generator.channels) - 1)
        if self.preprocessing.size % coarsest:
            raise ValueError(
                f"preprocessing.size: {self.preprocessing.size} is no multiple of {coarsest}, which patch and "
                "channels of the generator need; change one of the three"
            )
        return self

    @model_validator(mode="after")
    def _one_shared_step_a_round(self) -> "RunConfig":
        if self.privacy.mode == "distributed" and self.training.local_steps != 1:
            raise ValueError(
                "privacy.mode: distributed takes one step a round, whose noise all sites share; set "
                f"training.local_steps=1 and raise federation.rounds (found local_steps={self.training.local_steps})"
            )
        return self


class AuditConfig(Stage):
    """How hard an audit with canaries looks: made-up patients with the worst gradients, each put in by a fair coin."""

    canaries: int = Field(default=2000, ge=20, le=10**7, multiple_of=20, description="made-up patients to be found")
    patients: Count = Field(default=16, description="phantoms that are trained on besides")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="confidence of the lower bound on epsilon")
    noise: bool = Field(
        default=True, description="false takes it away behind the plan's back, to see that the audit finds it"
    )


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


S = TypeVar("S", bound=Stage)


def read_stage(stage: type[S], values: object, where: str = "") -> S:
    """Validate plain values or a Hydra node into a stage. Raises UserError: one line, the first offending key."""
    if isinstance(values, DictConfig):
        values = OmegaConf.to_container(values, resolve=True)
    try:
        return stage.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: " * bool(where) + _what_is_wrong(stage, error.errors()[0])) from None


def _what_is_wrong(stage: type[Stage], error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown_key(stage, key)
    found = error["input"]
    shown = "" if isinstance(found, dict | Stage) else f" (found {found!r:.200})"
    likely = nearest(str(found), re.findall("'(.*?)'", error["msg"])) if error["type"] == "literal_error" else []
    hint = f"; did you mean {likely[0]}?" if likely else ""
    return f"{key}: " * bool(key) + error["msg"].removeprefix("Value error, ") + shown + hint


def unknown_key(stage: type[Stage], key: str, groups: Iterable[str] = ()) -> str:
    """That the stage has no such key, and which may be meant, of its own or of `groups`."""
    likely = nearest(key, [*(known.name for known in all_keys(keys_of(stage))), *groups])
    return f"{key}: did you mean {' or '.join(likely)}?" if likely else f"{key}: there is no such key"


def read_stage_json(stage: type[S], path: Path) -> S:
    """Read a stage that was written as JSON. Raises UserError when the file is missing or is not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); is this a cmrfed run folder?") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not JSON ({error})") from None
    return read_stage_json_text(stage, text, where=str(path))


def read_stage_json_text(stage: type[S], text: str, where: str) -> S:
    """Read a stage from JSON text; `where` names its origin in errors."""
    return read_stage(stage, read_json_text(text, where), where=where)


def read_json_text(text: str, where: str) -> Any:
    """Plain values from JSON that somebody else may have written. Raises UserError, `where` being its origin."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is not JSON ({error})") from None


def read_stage_yaml(stage: type[S], path: Path) -> S:
    """Read a stage that a person wrote as YAML. Raises UserError when the file is missing, or is not one."""
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_tricks(text)
        values = OmegaConf.create(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: is not YAML as it should be: {' '.join(str(error).split())}") from None
    if not isinstance(values, DictConfig):
        raise UserError(f"{path}: is no list of KEY: VALUE lines")
    try:
        return read_stage(stage, values, where=str(path))
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None


def _refuse_tricks(text: str) -> None:
    """Raise ValueError for aliases, a few of which can stand for more than memory holds, and for endless depth."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"has an alias (*{event.anchor}); write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"is nested deeper than {_DEEPEST} levels")


_DEEPEST = 20
"""Levels of lists and sections; what people write has three or four."""
