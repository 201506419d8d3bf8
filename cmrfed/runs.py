"""A run's folder: where everything of it lies, what may be shared, and the record that repeats it."""

import importlib.metadata
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from cmrfed import __version__
from cmrfed.config import RunConfig, Stage, UserError, read_stage_json
from cmrfed.federation import Arm, ArmPlan
from cmrfed.privacy import PrivacyPlan
from cmrfed.slices import Slices, concatenate
from cmrfed.updates import Weights

_README = """# What is in this folder

| file | what it is | may it be shared? |
| --- | --- | --- |
| report.html | pictures, scores and the privacy card, in one file | it shows held-out patients' outlines: see below |
| results.json | every number of the report | yes |
| run.json | all that is needed to repeat the run | yes |
| model.safetensors | the generator to sample from | within the privacy card's terms |
| tensorboard/ | training curves | yes |
| arms/ | one folder for each way of training that was compared | within the privacy card's terms |
| sites/ | **patients' slices**, and each site's privacy ledger | **no: patient data** |
| central/ | **held-out patients' slices**, for evaluation only | **no: patient data** |

The report draws synthetic images for held-out patients' masks, and so shows the outlines of their hearts; with
`evaluation.show_real_images` it shows their images too. Share it only as those patients' consent allows.
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
    plan: PrivacyPlan | None
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
        (self.folder / "README.md").write_text(_README)
        temporary = self.folder / ".run.json"
        temporary.write_text(self.record.model_dump_json(indent=2))
        temporary.replace(self.folder / "run.json")

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
        return {arm: path.read_text().strip() for arm, path in paths.items() if path.exists()}

    def main_arm(self) -> str:
        """The arm that the run is about: the private one, unless privacy was off or nothing was trained."""
        if self.record.images:
            return "external"
        return "non_private" if self.config.privacy.mode == "none" else "private"

    def open_arm(self, name: str, config: RunConfig, plan: PrivacyPlan | None, initial: Weights) -> Arm:
        """The arm of that name: the one already begun, to go on with, or a new one."""
        folder = self.arm_folder(name)
        if (folder / "arm.json").exists():
            return Arm.open(folder)
        plan_of_arm = ArmPlan(run=self.record.name, name=name, config=config, plan=plan, sites=tuple(self.sites))
        return Arm.create(folder, plan_of_arm, initial)


def new_run_folder(out: Path, name: str | None = None) -> Path:
    """Make runs/<time>/, or runs/<time>_<name>/."""
    out = out.expanduser().resolve()
    stem = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{name}" if name else "")
    folder = next(path for n in range(1000) if not (path := out / (stem + (f"_{n}" if n else ""))).exists())
    folder.mkdir(parents=True)
    return folder


def prepared_folder(out: Path) -> Path:
    """runs/prepared/, where prepared slices wait for the next run on the same data; for its owner's eyes only."""
    folder = out.expanduser().resolve() / "prepared"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "README.md").write_text(_PREPARED_README)
    return folder


def point_latest(folder: Path) -> None:
    """runs/latest -> this run, replaced in one step."""
    link = folder.parent / "latest"
    if link.exists() and not link.is_symlink():
        return  # somebody's own folder of that name
    temporary = folder.parent / f".latest-{folder.name}"
    temporary.symlink_to(folder.name)
    temporary.replace(link)


def software_versions() -> dict[str, str]:
    """Versions that decide a result."""
    return {"cmrfed": __version__} | {package: importlib.metadata.version(package) for package in _PACKAGES}


def describe_device() -> str:
    """The hardware a run's times belong to."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
