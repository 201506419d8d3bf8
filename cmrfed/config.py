"""One frozen, validated dataclass a stage, and the one place that turns Hydra's config into them.

A config names things; it never names code. Every class refuses unknown keys, and every error is one line that names
the key, what was found and what is allowed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Fraction = Field(gt=0, lt=1)
MOST_TISSUES = 8
"""Classes of tissue around the heart that may be told apart; more are noise."""


class UserError(Exception):
    """Something only the user can mend: one line that names the file or key, what was found and what to do.

    `exit_code` is what the command line then ends with.
    """

    exit_code = 2


class StoppedEarly(UserError):
    """A run that is whole but for some of its planned rounds. Its report is written, and says so too."""

    exit_code = 3


class Stage(BaseModel):
    """A frozen, validated part of the configuration. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class PhantomConfig(Stage):
    """The built-in phantom data set: `patients_per_vendor` hearts from each of `vendors`, decided by `seed` alone."""

    patients_per_vendor: int = Field(default=24, ge=1)
    vendors: tuple[str, ...] = ("Siemens", "Philips", "GE", "Canon")
    seed: int = 0


class DataConfig(Stage):
    """Where the volumes are: `sources` maps a data set's name to its folder, relative to `root` or absolute.
    `unlabelled` takes in patients without a segmentation too, from whom a generator learns images without masks."""

    root: str = "."
    sources: dict[str, str]
    unlabelled: bool = False
    phantom: PhantomConfig = PhantomConfig()


class PreprocessingConfig(Stage):
    """The common grid: `size` x `size` pixels over `field_of_view_mm`, centred on the heart.

    `bias_correction` takes the coils' shading out first (N4). Intensities are then clipped to a range of the volume's
    own inside the field of view, which becomes [-1, 1]: by `intensity` its `percentiles`, all of it ("minmax"), or its
    foreground's mean and `zscore_limit` standard deviations either way ("zscore"). `phases` says which cases are used,
    `central_slices` how many from the middle of each (0: every slice that shows a labelled structure).
    `tissue_classes` labels that many kinds of tissue around the heart, for the generator to draw from. Where there is
    no mask the heart is found by its motion, or taken to be in the middle (`unlabelled_centre`).
    """

    size: int = Field(default=64, ge=16, multiple_of=8)
    field_of_view_mm: float = Field(default=150.0, gt=20, le=500)
    bias_correction: bool = False
    intensity: Literal["percentiles", "minmax", "zscore"] = "percentiles"
    percentiles: tuple[float, float] = (1.0, 99.0)
    zscore_limit: float = Field(default=3.0, gt=0)
    phases: tuple[Literal["ED", "ES", "unknown"], ...] = ("ED", "ES", "unknown")
    central_slices: int = Field(default=0, ge=0)
    tissue_classes: int = Field(default=0, ge=0, le=MOST_TISSUES)
    unlabelled_centre: Literal["motion", "image"] = "motion"

    @model_validator(mode="after")
    def _percentiles_ascend(self) -> "PreprocessingConfig":
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must ascend within 0..100, found {self.percentiles}")
        return self


class GeneratorConfig(Stage):
    """A generator family and its network; `patch` pixels a side are folded into channels before the U-Net.
    `tissue_classes` is that of the preprocessing."""

    family: Literal["flow", "ddpm"] = "flow"
    channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        default=(48, 96, 128), min_length=1, max_length=8
    )
    residual_blocks: int = Field(default=1, ge=1, le=16)
    norm_groups: int = Field(default=8, ge=1, le=256)
    patch: int = Field(default=2, ge=1, le=32)
    condition_dropout: float = Field(default=0.1, ge=0, lt=1)
    tissue_classes: int = Field(default=0, ge=0, le=MOST_TISSUES)
    trainable: Literal["all", "adaptation", "modulation"] = "all"
    init: str | None = None


class SamplingConfig(Stage):
    """How images are drawn: ODE or DDIM `steps`, classifier-free `guidance` (1 is none)."""

    steps: int = Field(default=20, ge=1)
    guidance: float = Field(default=1.0, ge=0)
    batch_size: int = Field(default=64, ge=1)


class AdaptiveClipping(Stage):
    """The clipping norm follows a private quantile of the patients' gradient norms (see `cmrfed.privacy.plan`).

    `share` of the clipping norm is spent on one more coordinate that tells how many patients lie below it; the norm
    moves geometrically by `learning_rate`, and stays within a factor `range` of where it began.
    """

    quantile: float = Field(default=0.5, gt=0, lt=1)
    learning_rate: float = Field(default=0.2, gt=0)
    share: float = Field(default=0.1, gt=0, lt=1)
    range: float = Field(default=10.0, ge=1)


class PrivacyConfig(Stage):
    """What is promised to each patient (add-or-remove adjacency), and the public constants the promise rests on.

    mode: "local", each site adds all the noise that protects its patients; "distributed", the sites share the noise
        under secure aggregation, and the guarantee holds as long as at most `dropouts` of them fail in a round and at
        most `colluders` of them side with the server.
    declared_patients: the number of patients a site is planned for, a public figure that scales the step; the true
        number stays at the site.
    noise_multiplier: null means: calibrate it to `target_epsilon` over the whole federation.
    clipping: "norm" clips each patient's gradient to `max_grad_norm`; "automatic" scales each to it; "per_layer" scales
        each weight tensor's part to an equal share of it.
    """

    mode: Literal["none", "local", "distributed"] = "local"
    target_epsilon: float = Field(default=8.0, gt=0)
    delta: float = Field(default=1e-4, gt=0, lt=1)
    sample_rate: float = Field(default=0.5, gt=0, le=1)
    noise_multiplier: float | None = Field(default=None, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    clipping: Literal["norm", "automatic", "per_layer"] = "norm"
    adaptive: AdaptiveClipping | None = None
    declared_patients: int = Field(default=24, ge=1)
    minimum_patients: int = Field(default=8, ge=1)
    dropouts: int = Field(default=0, ge=0)
    colluders: int = Field(default=0, ge=0)
    accountant: Literal["prv", "rdp"] = "prv"
    seed: int | None = None

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
    """How a computation runs, not what it computes: a site's own matter, whatever a server asks for.

    `precision` auto is bf16 where the device computes in it and fp32 elsewhere. `patient_gradients` says how they are
    computed: a micro-batch a patient ("loop"), several patients at once by vmap, `rows_at_once` rows together ("vmap",
    where the device rounds a patient alike in any company; else one by one), or whichever is faster on the device
    ("auto"). `threads` are a site's CPU threads."""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    patient_gradients: Literal["auto", "loop", "vmap"] = "auto"
    rows_at_once: int = Field(default=64, ge=1, le=65_536)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$")
    threads: int = Field(default=1, ge=1, le=1024)


class TrainingConfig(ExecutionConfig):
    """One site's local run: `local_steps` a round. `batch_size` counts slices without privacy;
    with it, each sampled patient gives `slices_per_patient` x `draws_per_slice` rows. `schedule` lowers the learning
    rate over the rounds."""

    local_steps: int = Field(default=6, ge=1)
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: int = Field(default=32, ge=1)
    slices_per_patient: int = Field(default=4, ge=1)
    draws_per_slice: int = Field(default=1, ge=1)

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
    """Public pretraining on the phantom, never the same heart twice, for all of `steps`, however long they take.

    A batch is drawn from at least `mixed_slices` slices of many hearts. `label_noise_mm` is how far the masks' edges
    stray from the images', as those of people who draw them do."""

    steps: int = Field(default=2400, ge=1)
    batch_size: int = Field(default=8, ge=1)
    mixed_slices: int = Field(default=512, ge=1)
    label_noise_mm: float = Field(default=0.7, ge=0, le=5)
    learning_rate: float = Field(default=1e-3, gt=0)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)


class AggregationConfig(Stage):
    """Which rule joins the sites' updates, the server's step, and the decay of the averaged weights over rounds."""

    rule: Literal["mean"] = "mean"
    server_learning_rate: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.5, ge=0, lt=1)


class FederationConfig(Stage):
    """Who takes part: a site for each combination of the `site_by` fields of a case, or `random_sites` equal ones.

    Private rounds begin only from a start whose held-out loss is at most `largest_start_loss` of that of the best
    predictor that sees one pixel at a time (null: from any).
    """

    rounds: int = Field(default=10, ge=1)
    site_by: tuple[Literal["dataset", "vendor", "centre"], ...] = ("vendor",)
    random_sites: int = Field(default=0, ge=0)
    held_out_fraction: float = Field(default=0.2, gt=0, lt=1)
    engine: Literal["ray", "inprocess"] = "ray"
    arms: Literal["private", "all"] = "private"
    largest_start_loss: float | None = Field(default=0.5, gt=0)
    round_timeout_s: float = Field(default=3600, gt=0)


class FidelityConfig(Stage):
    """How close images are to real ones: measured on at most `slices`, in each of the feature `spaces`; the first one's
    figures are the headline.

    `weights` names a file of weights for a feature network that comes without; nothing is ever downloaded. `pixels`
    compares each image with the real one of its mask, `structure` what a cardiologist would measure. A segmenter is
    taught on real images for `segmenter_steps` to see whether images follow their masks (0: not). `reconstruct` has the
    generator restore held-out images too.
    """

    slices: int = Field(default=200, ge=10)
    spaces: tuple[str, ...] = Field(default=("efficientnet-lite0",), min_length=1)
    weights: dict[str, str] = {}
    pixels: bool = True
    structure: bool = True
    segmenter_steps: int = Field(default=150, ge=0)
    reconstruct: bool = False

    @model_validator(mode="after")
    def _spaces_differ(self) -> "FidelityConfig":
        if len(set(self.spaces)) < len(self.spaces):
            raise ValueError(f"spaces: each once, found {', '.join(self.spaces)}")
        return self


class UtilityConfig(Stage):
    """What images are worth to someone who trains a segmenter on them: `steps` steps for each of `seeds` trainings.

    `slices` caps how many are synthesised to train on; real ones are thinned alike. `backbones` names the networks, of
    which the first is reported in full. `ratios` adds training sets with that many synthetic images to a real one,
    besides 1; `augmented` adds real images under strong classical augmentation. `protocols` leaves a vendor or a data
    set out of the real training images (see `cmrfed.evaluation.utility`). `disease` adds the classification of
    diseases. `margin` is the Dice that may be lost and still be called non-inferior.
    """

    slices: int = Field(default=600, ge=10)
    steps: int = Field(default=300, ge=1)
    seeds: int = Field(default=1, ge=1)
    backbones: tuple[Literal["unet", "dynunet"], ...] = Field(default=("unet",), min_length=1)
    ratios: tuple[Annotated[float, Field(gt=0, le=4)], ...] = ()
    augmented: bool = True
    protocols: tuple[Literal["leave_one_vendor_out", "translation", "cross_dataset"], ...] = ()
    disease: bool = True
    margin: float = Field(default=0.05, gt=0, lt=1)


class LeakageConfig(Stage):
    """What can be told of who was trained on: `attacks` by name (null: all) on `slices_per_patient` slices of every
    patient, or of at most `most_members` members (0: all).

    The loss curve has `times` noise levels with `draws` noises each; images are inverted in `inversion_steps` steps.
    `shadow_models` (an even number, 0 for none) are trained for `shadow_steps` steps each. `feature_space` (null for
    none) compares images by that network's features too, as `evaluation.fidelity` does. `worst_patients` most exposed
    ones are listed, by a hash.
    """

    attacks: tuple[str, ...] | None = None
    slices_per_patient: int = Field(default=2, ge=1)
    most_members: int = Field(default=0, ge=0)
    times: int = Field(default=8, ge=1)
    draws: int = Field(default=1, ge=1)
    inversion_steps: int = Field(default=4, ge=1)
    shadow_models: int = Field(default=0, ge=0, multiple_of=2)
    shadow_steps: int = Field(default=50, ge=1)
    feature_space: str | None = None
    worst_patients: int = Field(default=10, ge=0)


class CompositeConfig(Stage):
    """What fidelity, utility and privacy weigh in the one composite score; only their ratios matter."""

    fidelity: float = Field(default=1.0, gt=0)
    utility: float = Field(default=1.0, gt=0)
    privacy: float = Field(default=1.0, gt=0)


class EvaluationConfig(Stage):
    """What the central evaluator measures, and how hard; a part that is null is left out.

    `bootstrap` is the number of replicates behind each interval over patients.
    """

    fidelity: FidelityConfig | None = FidelityConfig()
    utility: UtilityConfig | None = UtilityConfig()
    leakage: LeakageConfig | None = LeakageConfig()
    composite: CompositeConfig = CompositeConfig()
    bootstrap: int = Field(default=1000, ge=100)
    show_real_images: bool = False


class RunConfig(Stage):
    """Everything one run is made from; its JSON in `run.json` repeats the run."""

    seed: int = 0
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
    def _one_shared_step_a_round(self) -> "RunConfig":
        if self.privacy.mode == "distributed" and self.training.local_steps != 1:
            raise ValueError(
                "privacy.mode: distributed takes one step a round, whose noise all sites share; set "
                f"training.local_steps=1 and raise federation.rounds (found local_steps={self.training.local_steps})"
            )
        return self


S = TypeVar("S", bound=Stage)


def read_stage(stage: type[S], values: Mapping[str, Any] | DictConfig, where: str = "") -> S:
    """Validate plain values or a Hydra node into a stage. Raises UserError: one line, the first offending key."""
    if isinstance(values, DictConfig):
        values = OmegaConf.to_container(values, resolve=True)  # type: ignore[assignment]
    try:
        return stage.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        found = first.get("input")
        shown = "" if isinstance(found, dict | Stage) else f" (found {found!r})"
        raise UserError(f"{where or 'config'}: {key or stage.__name__}: {first['msg']}{shown}") from None


def read_stage_json(stage: type[S], path: Path) -> S:
    """Read a stage that was written as JSON. Raises UserError when the file is missing or is not one."""
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); is this a cmrfed run folder?") from None
    return read_stage_json_text(stage, text, where=str(path))


def read_stage_json_text(stage: type[S], text: str, where: str) -> S:
    """Read a stage from JSON text; `where` names its origin in errors."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: is not JSON ({error})") from None
    return read_stage(stage, values, where=where)
