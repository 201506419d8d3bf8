"""The keys of each command, so that they are checked and explained before anything heavy is imported."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from cmrfed.composition import options
from cmrfed.config import (
    CanaryAuditConfig,
    ComparisonConfig,
    Count,
    DataConfig,
    DistillationConfig,
    EvaluationConfig,
    FinetuningConfig,
    Fraction,
    GeneratorConfig,
    HeartsConfig,
    Number,
    PlausibilityConfig,
    Positive,
    PreprocessingConfig,
    PretrainingConfig,
    ReleasePolicy,
    RunConfig,
    Scanner,
    ScreeningConfig,
    Seed,
    Stage,
    SweepConfig,
    TrainingConfig,
    VoxelsConfig,
    read_stage,
)
from cmrfed.keys import AsWritten
from cmrfed.members import LAYOUTS, OneOf
from cmrfed.provision.description import LONGEST_SITE_NAME, SITE_NAME, SiteName

ACCOUNT = r"^[A-Za-z_][\w.-]*$"
"""What an account of this machine may be called."""

Port = Annotated[int, Field(ge=0, le=65_535)]

SiteField = Literal["dataset", "vendor", "centre", "pathology", "phase"]


def _one_by_one(value: Any) -> Any:
    """Commas part paths, but where what is written is there as it stands."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list):
        return words
    return [part for word in words for part in ([word] if Path(word).exists() else word.split(","))]


def _any_is_all(value: Any) -> Any:
    """One name is a list of one; "any" stands for every scanner."""
    words = [value] if isinstance(value, str) else value
    return get_args(Scanner) if words == ["any"] else words


def _all_is(*names: str) -> BeforeValidator:
    """One name is a list of one; "all" stands for these."""

    def listed(value: Any) -> Any:
        words = [value] if isinstance(value, str) else value
        return names if words == ["all"] else words

    return BeforeValidator(listed)


RunName = Annotated[str | None, Field(max_length=120, pattern=r"^[\w.=+-]+$")]
"""What a run's folder is called besides the time."""

Paths = Annotated[tuple[AsWritten, ...], BeforeValidator(_one_by_one)]
"""Paths that are given one by one, or with commas between them."""


def _run_of(command: Stage, **more: Any) -> RunConfig:
    """What a command has of a run, and what it says of it besides; the rest is as a run has it."""
    own = {name: getattr(command, name) for name in RunConfig.model_fields if name in type(command).model_fields}
    return read_stage(RunConfig, own | more)


class OfARun(Stage):
    """A command about one run."""

    run: AsWritten = Field(default="runs/latest", description="a run's folder")


class Simulate(RunConfig):
    """`cmrfed simulate`, and what plans or audits the same run."""

    out: AsWritten = Field(default="runs", description="where the run's folder goes")
    name: RunName = Field(
        default=None, description="name of the run's folder, after the time; a sweep adds what it sweeps"
    )
    resume: AsWritten | None = Field(
        default=None,
        description="a run's folder: go on from its last round instead of starting anew; auto: so with the newest run "
        "of this very configuration, if it was cut short",
    )

    @property
    def config(self) -> RunConfig:
        """The run, without what is the command's alone."""
        return _run_of(self)


class Sweep(RunConfig):
    """`cmrfed sweep`."""

    out: AsWritten = Field(default="runs/sweep", description="the sweep's folder; what is done in it stays done")
    sweep: SweepConfig = SweepConfig()

    @property
    def config(self) -> RunConfig:
        """The run that is varied."""
        return _run_of(self)


_PRESETS = dict.fromkeys(options("generator"), "")
Preset = Annotated[str, OneOf(_PRESETS)]
"""A family of generators, ready made."""


class CompareFamilies(RunConfig):
    """`cmrfed compare`."""

    families: Annotated[tuple[Preset, ...], Field(min_length=1), _all_is(*_PRESETS)] = Field(
        default=("flow", "ddpm", "edm"), description="names in configs/generator, or all"
    )
    out: AsWritten = Field(default="runs/families", description="the comparison's folder; what is done stays done")
    comparison: ComparisonConfig = ComparisonConfig()

    @property
    def config(self) -> RunConfig:
        """The run that each family does in its own way."""
        return _run_of(self)


class CanaryAudit(Simulate):
    """`cmrfed canary-audit`."""

    canary_audit: CanaryAuditConfig = CanaryAuditConfig()


class Prepare(Stage):
    """`cmrfed prepare`."""

    home: AsWritten = Field(description="the site's own folder; slices, policy, ledger and outbox live there")
    hold_out: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the patients that no training sees, for membership audits; drawn once, before any run",
    )
    data: DataConfig
    preprocessing: PreprocessingConfig = PreprocessingConfig()


class Pretrain(Stage):
    """`cmrfed pretrain`."""

    out: AsWritten | None = Field(
        default=None, description="a file for the weights in half precision too, as a foundation has them"
    )
    seed: Seed = Field(default=0, description="seed of the weights and the hearts")
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    generator: GeneratorConfig = GeneratorConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    training: TrainingConfig = TrainingConfig()

    @property
    def config(self) -> RunConfig:
        """A run that would start from it; of no patients yet."""
        return _run_of(self, data={"root": ".", "sources": {}})


class Finetune(Stage):
    """`cmrfed finetune`."""

    out: AsWritten = Field(description="a file for the start, NAME.safetensors: new, or an earlier finetune's")
    seed: Seed = Field(default=0, description="seed of the order of patients, and of who is held out")
    data: DataConfig
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    generator: GeneratorConfig = GeneratorConfig()
    finetuning: FinetuningConfig = FinetuningConfig()
    training: TrainingConfig = TrainingConfig()

    @property
    def config(self) -> RunConfig:
        """A run of the public patients, which never takes place."""
        return _run_of(self)


class AskedSampling(Stage):
    """How images are drawn; null: as the generator's file says."""

    steps: Count | None = Field(default=None, description="steps of the solver: Euler (flow) or DDIM (ddpm)")
    guidance: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="classifier-free guidance; 1 is none"
    )
    batch_size: Count | None = Field(default=None, description="images drawn at once")


class OfAModel(OfARun):
    """A command that draws from a generator: of a run, or of a file."""

    arm: Literal["private", "non_private", "epsilon_0"] | None = Field(
        default=None, description="of the run; null: its own"
    )
    model: AsWritten | None = Field(
        default=None, description="foundation, or a model.safetensors of a release or any other, instead of a run's"
    )
    sampling: AskedSampling = AskedSampling()


class Generate(OfAModel):
    """`cmrfed generate`."""

    masks: AsWritten | None = Field(
        default=None,
        description="folder of NIfTI label maps, 3-D or 4-D; subfolders are looked through; null: those of the "
        "phantom's hearts, which are nobody's",
    )
    anatomy: AsWritten | None = Field(
        default=None, description="folder of hearts by `cmrfed anatomy`, instead of masks=; told as its table has them"
    )
    hearts: int = Field(default=20, ge=1, le=10_000, description="without masks=: how many hearts, at ED and ES")
    out: AsWritten = Field(
        description="folder for the pairs, where only what generate wrote is written over; new for any format but pairs"
    )
    format: Annotated[str, OneOf(LAYOUTS)] = Field(default="pairs", description="how they lie there, and for what tool")
    labels: Literal["cmrfed", "mnms", "mnms2", "ukbiobank", "acdc", "mscmrseg"] = Field(
        default="cmrfed", description="the data set whose numbers the masks have; the first four are numbered alike"
    )
    grid: Literal["input", "model"] = Field(
        default="input", description="images on their masks' own voxels, or both on the generator's grid"
    )
    frames: Annotated[tuple[Number, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="of 4-D masks, counted from 0: one or several as 0,9; null: those that show a structure",
    )
    vendor: Annotated[
        tuple[Literal["Siemens", "Philips", "GE", "Canon", "unknown"], ...], _all_is(*get_args(Scanner))
    ] = Field(
        default=("unknown",),
        min_length=1,
        description="whose scanners the images look like; all, or one or several as Siemens,GE",
    )
    phase: Annotated[tuple[Literal["ED", "ES", "unknown"], ...], _all_is("ED", "ES")] = Field(
        default=("unknown",),
        min_length=1,
        description="phases of the cardiac cycle to show; all, or one or several as ED,ES",
    )
    seed: Seed = Field(default=0, description="with a mask's name it decides the image")
    text: AsWritten | None = Field(
        default=None,
        description="what else the hearts are, in words: hypertrophic heart of a woman of 60 years, 3 T",
    )
    screening: ScreeningConfig | None = None


class Anatomy(HeartsConfig):
    """`cmrfed anatomy`."""

    out: AsWritten = Field(description="folder for the masks; only what anatomy wrote there is written over")
    n: int = Field(default=20, ge=1, le=100_000, description="how many hearts")
    hearts: AsWritten | None = Field(
        default=None,
        description="a .csv table with a line for each heart and the keys above as columns, instead of n= and the keys",
    )
    seed: Seed = Field(default=0, description="decides whatever is not asked for")
    voxels: VoxelsConfig = VoxelsConfig()


class Distill(OfAModel):
    """`cmrfed distill`."""

    out: AsWritten = Field(description="a new file for the weights, NAME.safetensors")
    seed: Seed = Field(default=0, description="seed of the hearts whose masks are drawn for")
    distillation: DistillationConfig = DistillationConfig()
    training: TrainingConfig = TrainingConfig()


class Export(OfAModel):
    """`cmrfed export`."""

    out: AsWritten = Field(description="a new folder for the bundle")
    format: Literal["monai_bundle"] = Field(default="monai_bundle", description="what the folder is laid out as")


class Evaluate(OfARun):
    """`cmrfed evaluate`."""

    images: AsWritten | None = Field(
        default=None, description="folder of pairs NAME.nii.gz, NAME_gt.nii.gz of any generator: scored instead of run="
    )
    members: AsWritten | None = Field(
        default=None, description="with data=: a text file of the patients that generator was trained on, one a line"
    )
    out: AsWritten = Field(default="runs", description="where the results of images= go")
    seed: Seed = Field(default=0, description="seed of how data= is divided")
    evaluation: EvaluationConfig = EvaluationConfig()
    data: DataConfig | None = None
    preprocessing: PreprocessingConfig = PreprocessingConfig()


class Report(OfARun):
    """`cmrfed report`."""

    show_real_images: bool | None = Field(
        default=None,
        description="true shows held-out patients beside their synthetic images; do not share such a report",
    )


class Compare(Stage):
    """`cmrfed report compare`."""

    run: Paths = Field(description="two or more runs' folders, with commas between them; or RUN RUN ...")
    out: AsWritten = Field(default="compare.html", description="the page")


class Release(OfARun):
    """`cmrfed release`."""

    out: AsWritten = Field(description="a new folder")
    policy: ReleasePolicy = ReleasePolicy()


class ReaderStudy(OfARun):
    """`cmrfed reader-study`."""

    mode: Literal["apart", "plausibility"] = Field(
        default="apart",
        description="apart: single slices, to be told real or synthetic; plausibility: whole hearts at ED and ES, to "
        "be rated and put in order of severity",
    )
    arm: Literal["private", "non_private", "epsilon_0", "external"] | None = Field(
        default=None, description="of the run; null: its own"
    )
    model: AsWritten | None = Field(
        default=None,
        description="of mode=plausibility: foundation, or a model.safetensors, instead of a run's; no real heart is "
        "then shown",
    )
    out: AsWritten = Field(description="a new folder for the page and its key")
    items: int = Field(
        default=60,
        ge=2,
        le=10**4,
        description="of mode=apart: images at most, half of them synthetic, a patient once",
    )
    seed: Seed = Field(default=0, description="decides what is shown, not its order")
    sampling: AskedSampling = AskedSampling()
    plausibility: PlausibilityConfig = PlausibilityConfig()


class ReaderScore(Stage):
    """`cmrfed reader-study score`."""

    key: AsWritten = Field(description="the study's key.json")
    answers: Paths = Field(description="the readers' files, with commas between them; or FILE FILE ...")
    out: AsWritten | None = Field(default=None, description="a new file for every score and note, NAME.json")


class ServerStatus(OfARun):
    """`cmrfed server status`."""

    federation: AsWritten | None = Field(
        default=None, description="the coordinator's folder, as in cmrfed provision: whose nodes may connect, and do"
    )
    format: Literal["table", "json"] = Field(default="table", description="what is printed")
    web: bool = Field(default=False, description="true: a page that keeps itself up to date, until Ctrl-C")
    address: AsWritten = Field(default="127.0.0.1", description="of web: where the page is reached")
    port: Port = Field(default=8080, description="of web; 0: any that is free")


class SiteWatch(Stage):
    """`cmrfed site watch`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    port: Port = Field(default=8081, description="of this machine's own loopback; 0: any that is free")


class SitePause(Stage):
    """`cmrfed site pause`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    why: AsWritten = Field(default="", max_length=500, description="for the hospital's own journal")


class SiteResume(Stage):
    """`cmrfed site resume`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")


class SiteServe(Stage):
    """`cmrfed site serve`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    socket: AsWritten = Field(description="where to answer: a path both accounts reach, as /run/cmrfed/site.sock")
    node_account: str | None = Field(
        default=None,
        pattern=ACCOUNT,
        description="the account that the node runs under, and the only one that may ask; without it this account's "
        "own, which shields the home from no code that a coordinator sends",
    )


class SiteNode(Stage):
    """`cmrfed site node`."""

    socket: AsWritten = Field(description="where cmrfed site serve answers")
    node: AsWritten | None = Field(default=None, description="the node's own folder, as cmrfed site join wrote it")
    insecure: str | None = Field(
        default=None,
        pattern=r"^\S+:\d+$",
        description="in the place of node, HOST:PORT of a server that is neither asked who it is nor spoken to in "
        "secret; for tests alone",
    )


class SiteApprove(Stage):
    """`cmrfed site approve`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    bundle: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the bundle to approve; without it those that wait are listed",
    )
    own: bool = Field(default=False, description="the bundle that this very installation would send, before it asks")
    yes: bool = Field(default=False, description="approve without being asked, after reading it elsewhere")
    withdraw: bool = Field(default=False, description="let this bundle ask no longer")


class SiteJournal(Stage):
    """`cmrfed site journal`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    rows: Count = Field(default=20, description="how many of the last questions to show")


class LedgerShow(Stage):
    """`cmrfed ledger show`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    rows: Count = Field(default=20, description="how many of the last rows to show")


class LedgerVerify(Stage):
    """`cmrfed ledger verify`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    head: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="head that a ledger command printed earlier, kept elsewhere"
    )


class LedgerExport(Stage):
    """`cmrfed ledger export`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    out: AsWritten = Field(description="a new file, .json or .csv")


class DataVerify(Stage):
    """`cmrfed data verify`."""

    data: DataConfig
    by: tuple[SiteField, ...] = Field(
        default=("dataset", "vendor", "centre"),
        min_length=1,
        description="what makes a row of the tables; by=vendor for one alone",
    )
    out: AsWritten | None = Field(default=None, description="also write all of it, machine-readable, to this .json")
    lines: Count = Field(default=10, description="warnings of one kind to show; problems are all shown")
    workers: Count | None = Field(default=None, description="processes that read; null: one a processor")


class DataPreview(Stage):
    """`cmrfed data preview`."""

    data: DataConfig
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    out: AsWritten = Field(description="the picture, .png")
    patients: int = Field(default=6, ge=1, le=24, description="patients of each site, drawn at random")
    slices: Literal[1, 2, 3] = Field(default=1, description="mid-ventricular; basal and apical; all three")
    prepared: bool = Field(default=True, description="show below each image what training will see of it")
    names: bool = Field(default=False, description="write patients' names above them")
    seed: Seed = Field(default=0, description="another one draws other patients")


class DataPhantom(Stage):
    """`cmrfed data phantom`."""

    out: AsWritten = Field(description="the folder: empty, new, or this very phantom")
    patients: Count = Field(default=20, description="patients of each vendor")
    vendor: Annotated[tuple[Scanner, ...], BeforeValidator(_any_is_all)] = Field(
        default=get_args(Scanner), min_length=1, description="any, all four, or one or several as GE,Canon"
    )
    seed: Seed = Field(default=0, description="another one makes other patients")


class Provision(Stage):
    """`cmrfed provision`."""

    federation: AsWritten = Field(description="a YAML file that names the federation, its server and its sites")
    out: AsWritten = Field(default="federation", description="the coordinator's folder; what is there stays")


class OfACoordinator(Stage):
    """A command about a coordinator's folder."""

    folder: AsWritten = Field(default="federation", description="the coordinator's folder, as in cmrfed provision")


class OfAnInvitedSite(OfACoordinator):
    """A command about one of its sites."""

    site: AsWritten = Field(
        max_length=LONGEST_SITE_NAME, pattern=SITE_NAME, description="what the site is called in the federation"
    )


class ProvisionAdd(OfAnInvitedSite):
    """`cmrfed provision add`."""


class ProvisionRegister(OfAnInvitedSite):
    """`cmrfed provision register`."""

    key: AsWritten = Field(description="the file node.pub that the site sent, or its one line of text")
    fingerprint: AsWritten = Field(description="what the site read out on the phone")


class ProvisionRevoke(OfAnInvitedSite):
    """`cmrfed provision revoke`."""


class ProvisionRotate(OfACoordinator):
    """`cmrfed provision rotate`."""

    site: AsWritten | None = Field(
        default=None, description="invite this site again, for a new key; null: a new certificate for the server"
    )


class ProvisionAdmit(OfACoordinator):
    """`cmrfed provision admit`."""


class ServerStart(OfACoordinator):
    """`cmrfed server start`."""


class ServerStop(OfACoordinator):
    """`cmrfed server stop`."""


class Submit(RunConfig):
    """`cmrfed submit`."""

    folder: AsWritten = Field(default="federation", description="the coordinator's folder, as in cmrfed provision")
    sites: tuple[SiteName, ...] = Field(
        default=(), description="who is asked, one or several as North,South; none: all that are registered"
    )
    out: AsWritten = Field(default="runs", description="where the run's folder goes")
    name: RunName = Field(default=None, description="name of the run's folder, after the time")
    resume: AsWritten | None = Field(
        default=None, description="a run's folder: go on with it, or follow it where it is at work"
    )
    stop: bool = Field(default=False, description="with resume=: end the run at the server; whole rounds are kept")
    wait: bool = Field(default=True, description="show rounds until the end; false: leave it to the server")
    membership_audit: bool = Field(
        default=False, description="once its rounds are done, have the sites attack what came of them"
    )

    @property
    def config(self) -> RunConfig:
        """The run, as it is asked for: each site has prepared data of its own, and nobody here has any."""
        return _run_of(self, data={"root": ".", "sources": {}})


class SiteJoin(Stage):
    """`cmrfed site join`."""

    invitation: AsWritten = Field(description="the coordinator's file, or the one line of text in it")
    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    node: AsWritten | None = Field(
        default=None,
        description="the node's own folder: its key is made there, and it is all that its account needs to read; null: "
        "within the home, which shields the home from no code that a coordinator sends",
    )
    fingerprint: AsWritten | None = Field(
        default=None, description="of the coordinator's certificate, as read out on the phone; null: asked about"
    )
    rotate: bool = Field(default=False, description="true: a new key and connection in a home that has joined before")
    yes: bool = Field(default=False, description="true: ask nothing, take what is given here, and defaults")
    maximum_epsilon: Positive | None = Field(
        default=None, description="of a new site.yaml: what may be spent on a patient over all runs"
    )
    maximum_delta: Fraction | None = Field(
        default=None, description="of a new site.yaml: how likely the guarantee may fail"
    )
    minimum_patients: Count | None = Field(
        default=None, description="of a new site.yaml: with fewer the site takes no part"
    )


class RunsList(Stage):
    """`cmrfed runs list`."""

    out: AsWritten = Field(default="runs", description="folder that runs lie in")


class RunsShow(OfARun):
    """`cmrfed runs show`."""


class RunsRemove(Stage):
    """`cmrfed runs rm`."""

    run: Paths = Field(description="runs' folders, with commas between them; or RUN RUN ...")
    yes: bool = Field(default=False, description="ask nothing")


class Doctor(Stage):
    """`cmrfed doctor`."""

    out: AsWritten = Field(default="runs", description="folder in which runs are to lie")


class SiteCheckup(Stage):
    """`cmrfed site check`."""

    home: AsWritten = Field(description="the site's own folder, as in cmrfed prepare")
    node: AsWritten | None = Field(default=None, description="the node's own folder, as in cmrfed site join")
