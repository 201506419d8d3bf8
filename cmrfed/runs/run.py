"""A run's folder: where everything of it lies, what may be shared, and the record that repeats it."""

import fcntl
import importlib.metadata
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from cmrfed import __version__
from cmrfed.config import RunConfig, Stage, UserError, read_stage_json
from cmrfed.core import atomic
from cmrfed.federation import Arm, ArmPlan
from cmrfed.outputs import private_folder
from cmrfed.privacy import Plan
from cmrfed.slices import Slices, concatenate
from cmrfed.updates import Weights

_README = """# What is in this folder, and what may leave it

**Only share/ may leave.** The privacy card's epsilon covers one thing, the private arm's generator. Everything else is
of patients, or was computed from them without noise, and no epsilon covers it: it stays where their data may be, unless
whoever answers for them decides otherwise. (In a run on the built-in phantom alone there is no patient.)

| file | what it is | may it leave? |
| --- | --- | --- |
| share/ | the private arm's generator and its card; only in a run that has a guarantee | **yes**, on the card's terms |
| report.html | pictures, scores and the privacy card, in one file | no: patients' outlines, scores without noise |
| results.json | every number of the report | no: computed from patients without noise |
| run.json | all that is needed to repeat the run | no: how many patients each site has |
| model.safetensors | the generator of the run's own arm | share/ has it where it may |
| tensorboard/ | training curves | no: losses on patients |
| arms/ | one folder for each way of training that was compared | no: losses, images drawn for patients' masks |
| sites/ | **patients' slices**, and each site's privacy ledger | **no: patient data** |
| central/ | **held-out patients' slices**, for evaluation only | **no: patient data** |

`cmrfed release` asks for more than share/ does, attacks that found nothing, and adds a data sheet and terms of use.
"""

_PREPARED_README = """# Prepared slices: patient data, not to be shared

One file for each data set and preprocessing that a run was made from, so that the next run on the same need not read
the volumes again. Delete what you like at any time: what is missed is prepared anew.
"""

_PACKAGES = ("torch", "monai", "opacus", "flwr", "torch-fidelity", "numpy")


class RunRecord(Stage):
    """run.json: what the run was made from. The privacy noise alone cannot be repeated, and must not be.

    `images` is None but where nothing was trained: then it is the folder of images, made by somebody else, that the
    run is about. Its one site stands for whoever trained their generator; `members_known` says whether these patients
    are known to be those it was trained on. Where they are not, nothing about membership can be measured.
    """

    name: str
    created: str
    cmrfed: str
    versions: dict[str, str]
    config: RunConfig
    data_fingerprint: str
    sites: dict[str, int]
    held_out_patients: int
    plan: Plan
    pretraining: dict[str, Any]
    images: str | None = None
    members_known: bool = True


class Run:
    """One run's folder and its record."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder, self.record, self.config = folder, record, record.config

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Open a run. Raises UserError when the folder is not one."""
        folder = folder.expanduser().resolve()
        if not (folder / "run.json").exists():
            raise UserError(f"{folder}: is not a run (it has no run.json); give a folder that `cmrfed simulate` wrote")
        return cls(folder, read_stage_json(RunRecord, folder / "run.json"))

    def save_record(self) -> None:
        """Write run.json and the README that explains the folder; run.json comes last, as the sign of a whole run."""
        atomic.write_text(self.folder / "README.md", _README)
        atomic.write_text(self.folder / "run.json", self.record.model_dump_json(indent=2))

    @property
    def sites(self) -> list[str]:
        return sorted(self.record.sites)

    def site_home(self, site: str) -> Path:
        return self.folder / "sites" / site

    def train_slices(self) -> Slices:
        """The slices of all training patients, over all sites: what only a simulation's evaluator can see."""
        return concatenate([Slices.load(self.site_home(site) / "slices.safetensors") for site in self.sites])

    def held_out_slices(self) -> Slices:
        return Slices.load(self.folder / "central" / "held_out.safetensors")

    def arm_folder(self, arm: str) -> Path:
        return self.folder / "arms" / arm

    def arms(self) -> list[str]:
        """Arms that have a model, the one without private data first; or the one of somebody else's images."""
        if self.record.images:
            return ["external"]
        order = ["epsilon_0", "private", "non_private"]
        return [arm for arm in order if (self.arm_folder(arm) / "model.safetensors").exists()]

    def early_ends(self) -> dict[str, str]:
        """Of the trained arms, those that ended before all rounds were done: after how many, and why."""
        paths = {arm: self.arm_folder(arm) / "stopped.txt" for arm in ("private", "non_private")}
        return {arm: path.read_text(encoding="utf-8").strip() for arm, path in paths.items() if path.exists()}

    def main_arm(self) -> str:
        """The arm that the run is about: the private one, unless privacy was off or nothing was trained."""
        if self.record.images:
            return "external"
        return "non_private" if self.config.privacy.mode == "none" else "private"

    def arm(self, name: str | None = None) -> str:
        """That arm's name, or the run's own arm's. Raises UserError naming the arms that have a model."""
        chosen, known = name or self.main_arm(), self.arms()
        if chosen not in known:
            have = f"choose one of {', '.join(known)}" if known else "no arm is finished: simulate resume= goes on"
            raise UserError(f"arm: {chosen!r} is none of this run's; {have}")
        return chosen

    def model(self, arm: str | None = None) -> Path:
        """The file of an arm's generator, or of the run's own. Raises UserError where there is none."""
        own = self.folder / "model.safetensors"
        path = own if arm is None and own.exists() else self.arm_folder(self.arm(arm)) / "model.safetensors"
        if not path.exists():
            raise UserError(f"{self.folder}: holds images that were made elsewhere, and no generator to draw more")
        return path

    def open_arm(self, name: str, config: RunConfig, plan: Plan, initial: Weights) -> Arm:
        """The arm of that name: the one already begun, to go on with, or a new one."""
        folder = self.arm_folder(name)
        if (folder / "arm.json").exists():
            return Arm.open(folder)
        plan_of_arm = ArmPlan(run=self.record.name, name=name, config=config, plan=plan, sites=tuple(self.sites))
        return Arm.create(folder, plan_of_arm, initial)


def runs_called(name: str, out: Path) -> list["Run"]:
    """Runs in `out` of that name, the oldest first; one whose name only ends like it is another."""
    ours = re.compile(_TIME_IN_A_NAME + re.escape(f"_{name}") + r"(_\d+)?")
    found = [path.parent for path in out.glob("*/run.json") if ours.fullmatch(path.parent.name)]
    return [Run.open(folder) for folder in sorted(found)]


_TIME_IN_A_NAME = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"


def new_run_folder(out: Path, name: str | None = None) -> Path:
    """Make runs/<time>/, or runs/<time>_<name>/, which only its owner may enter."""
    out = out.expanduser().resolve()
    stem = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{name}" if name else "")
    folder = next(path for n in range(1000) if not (path := out / (stem + (f"_{n}" if n else ""))).exists())
    return private_folder(folder)


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Keep other processes off a run: two coordinators would ask its sites for the same rounds. The lock goes with the
    process that has it, however that ends. Raises UserError where another one has it."""
    with (folder / ".at_work").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is at work on this run; let it end, or end it") from None
        yield


def interrupted_run(config: RunConfig, out: Path) -> Run | None:
    """The newest run of this very configuration in `out`, if it was cut short: it has no report."""
    folders = [path.parent for path in out.expanduser().resolve().glob("*/run.json")]
    for folder in sorted((one for one in folders if not one.is_symlink()), reverse=True):
        run = _readable(folder)
        if run and run.config == config:
            return None if (folder / "report.html").exists() else run
    return None


def _readable(folder: Path) -> Run | None:
    """None for a run of another version, whose record cannot be read."""
    try:
        return Run.open(folder)
    except UserError:
        return None


def prepared_folder(out: Path) -> Path:
    """runs/prepared/, where prepared slices wait for the next run on the same data; for its owner's eyes only."""
    folder = private_folder(out.expanduser().resolve() / "prepared")
    readme = folder / "README.md"
    if not readme.exists():
        atomic.write_text(readme, _PREPARED_README)
    return folder


def point_latest(folder: Path) -> None:
    """runs/latest -> this run, replaced in one step."""
    link = folder.parent / "latest"
    if link.exists() and not link.is_symlink():
        return  # somebody's own folder of that name
    atomic.point(link, folder.name)


def software_versions() -> dict[str, str]:
    """Versions that decide a result."""
    return {"cmrfed": __version__} | {package: importlib.metadata.version(package) for package in _PACKAGES}


def describe_device() -> str:
    """The hardware a run's times belong to."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
