"""A folder of image and mask pairs that somebody else's generator made, laid out as a run of which only scores exist.

It is scored against real patients: those of a run of ours, divided as that run divided them, or any data set, divided
by a list of the patients that the generator was trained on, where its maker gives one.
"""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cmrfed.config import DataConfig, RunConfig, UserError
from cmrfed.core.progress import ProgressBar
from cmrfed.datasets.names import normal_form
from cmrfed.preparation import Source
from cmrfed.privacy import NoPrivacy
from cmrfed.runs.run import Run, RunRecord, new_run_folder, point_latest, prepared_folder, software_versions
from cmrfed.slices import Slices, concatenate, fingerprint, split_patients

SITE = "training"
"""The one site of such a run: the patients trained on, wherever they were."""


@dataclass(frozen=True)
class Reference:
    """The real patients that images are scored against, and the configuration they were prepared by.

    members_known: whether the images' generator was trained on `train`, and on none of `held_out`.
    """

    train: Slices
    held_out: Slices
    config: RunConfig
    members_known: bool = True

    @classmethod
    def of_run(cls, run: Run, config: RunConfig) -> "Reference":
        """The patients of one of our runs, on whose training patients the images' generator was trained too."""
        return cls(run.train_slices(), run.held_out_slices(), config)

    @classmethod
    def of_data(cls, config: RunConfig, members: Path | None, out: Path, bar: ProgressBar) -> "Reference":
        """Patients of `config.data`: trained on are those that the text file `members` names, one a line, or, where
        that is not known, a part drawn by `config.seed` stands in for them. Raises UserError naming a patient that is
        not there."""
        source = Source.of(config.data, config.preprocessing)
        with bar("reading and preparing real cases") as progress:
            slices = source.slices(prepared_folder(out) / f"{source.key}.safetensors", progress)
        if members is None:
            train, held_out = split_patients(slices.records, config.federation.held_out_fraction, config.seed)
        else:
            train = _named(members, slices)
            held_out = sorted(set(slices.patient_names).difference(train))
        if not held_out:
            raise UserError(f"{members}: names every patient of the data; some must be left that were not trained on")
        return cls(slices.subset(train), slices.subset(held_out), config, members_known=members is not None)


def lay_out_folder(images: Path, reference: Reference, out: Path, bar: ProgressBar) -> Run:
    """Prepare the pairs in `images` on the reference's grid and make a run of them; it is not scored yet.

    Raises UserError when the folder holds no pairs or one cannot be read.
    """
    images = images.expanduser().resolve()
    pairs = DataConfig(root=str(images), sources={"pairs": "."})
    source = Source.of(pairs, reference.config.preprocessing)
    folder = new_run_folder(out)
    try:
        with bar("reading and preparing the images") as progress:
            made = source.slices(folder / "arms" / "external" / "synthetic.safetensors", progress)
        run = Run(folder, _record(folder, images, made, reference))
        reference.train.save(run.site_home(SITE) / "slices.safetensors")
        reference.held_out.save(folder / "central" / "held_out.safetensors")
        run.save_record()
    except BaseException:
        shutil.rmtree(folder)
        raise
    point_latest(folder)
    return run


def _named(path: Path, slices: Slices) -> list[str]:
    """The patients that a text file names, with or without their data set's name before them."""
    try:
        names = [normal_form(line.strip()) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a text file with a patient's name a line") from None
    known = {record.patient.removeprefix(f"{record.dataset}-"): record.patient for record in slices.records}
    known |= {name: name for name in slices.patient_names}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{path}: {unknown[0]!r:.80} is no patient of the data; names look like {next(iter(known))}")
    if not names:
        raise UserError(f"{path}: names nobody; give the patients that the generator was trained on, one a line")
    return sorted({known[name] for name in names})


def _record(folder: Path, images: Path, made: Slices, reference: Reference) -> RunRecord:
    return RunRecord(
        name=folder.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cmrfed=software_versions()["cmrfed"],
        versions=software_versions(),
        config=reference.config,
        data_fingerprint=fingerprint(concatenate([reference.train, reference.held_out])),
        sites={SITE: reference.train.number_of_patients},
        held_out_patients=reference.held_out.number_of_patients,
        plan=NoPrivacy(),
        pretraining={"data": "not known: the images were made elsewhere", "pairs": made.number_of_patients},
        images=str(images),
        members_known=reference.members_known,
    )
