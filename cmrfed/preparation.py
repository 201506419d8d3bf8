"""A configured data set -> its slices on the common grid, kept in one file; and the phantom, written or streamed."""

import hashlib
import json
from collections.abc import Collection, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from pathlib import Path

import numpy as np

from cmrfed.config import DataConfig, PreprocessingConfig, UserError
from cmrfed.console import errors, safe_text
from cmrfed.core.progress import Progress, counted
from cmrfed.datasets import doubtful_names, find_entries, order
from cmrfed.datasets.tables import NotOnDisk
from cmrfed.parallel import map_in_order
from cmrfed.phantom import phantom_patient, phantom_patient_twice, write_phantom
from cmrfed.phantom.labelling import with_drawn_outlines
from cmrfed.preprocessing import prepare
from cmrfed.slices import Slices, collect, source_of, write_slices
from cmrfed.volumes import Case, Entry, load_case
from cmrfed.volumes.trees import files_under

VERSION = 4
"""Raised whenever the same files and configuration would give other slices."""
_SAID = 10
"""Doubts that are printed; a table may be of ten times the patients that are there."""


@dataclass(frozen=True)
class Source:
    """The cases of a configured data set and how they are to be prepared."""

    entries: tuple[Entry, ...]
    preprocessing: PreprocessingConfig

    @classmethod
    def of(cls, data: DataConfig, preprocessing: PreprocessingConfig) -> "Source":
        """Find every case of every source, of the wanted phases. Raises UserError naming the file or key.

        What makes it doubtful that every patient is there, and once, is printed before anything is made of them.
        """
        refuse_missing_folders(data)
        found: list[Entry] = []
        faults: list[UserError] = []
        for name, root in source_folders(data).items():
            found += find_entries(name, root, data.unlabelled, faults)
        if stopping := [fault for fault in faults if not isinstance(fault, NotOnDisk)]:
            raise stopping[0]
        _warn([*doubtful_names((entry.dataset, entry.patient) for entry in found), *map(str, faults)])
        wanted = (entry for entry in found if entry.phase in preprocessing.phases)
        return cls(tuple(sorted(wanted, key=order)), preprocessing)

    @cached_property
    def key(self) -> str:
        """SHA-256 of what decides the slices: every file's place, size and time, its metadata, and the settings."""
        described = [[repr(entry), *map(_stamp, (entry.image_path, entry.mask_path))] for entry in self.entries]
        text = json.dumps([VERSION, self.preprocessing.model_dump(), described], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def only(self, patients: Collection[str]) -> "Source":
        """The cases of these patients alone."""
        return Source(tuple(entry for entry in self.entries if entry.patient in patients), self.preprocessing)

    def slices(self, store: Path, progress: Progress | None = None) -> Slices:
        """The slices, kept in the file `store`: opened where it was made from the same files in the same way, else made
        anew, in parallel over cases. They stay on disk; memory does not grow with the number of patients.

        Raises UserError, naming the file, at the first thing that cannot be used; nothing is skipped silently.
        """
        if source_of(store) == self.key:
            return Slices.load(store)
        prepared = map_in_order(partial(_read_and_prepare, preprocessing=self.preprocessing), self.entries)
        cases = counted(prepared, len(self.entries), progress)
        return write_slices(store, cases, self.key, _pairs_phases(self.preprocessing))


def phantom_slices(
    patients: int, seed: int, preprocessing: PreprocessingConfig, progress: Progress | None = None
) -> Slices:
    """Slices of generic phantom hearts with randomised styles, rendered in parallel, in memory."""
    hearts = map_in_order(partial(_phantom_patient, seed=seed, preprocessing=preprocessing), range(patients))
    cases = (case for cases in counted(hearts, patients, progress) for case in cases)
    return collect(cases, _pairs_phases(preprocessing))


def phantom_stream(
    seed: int, preprocessing: PreprocessingConfig, label_noise_mm: float = 0.0, first: int = 0
) -> Generator[Slices, None, None]:
    """Slices of one generic phantom heart after the other, without end and never the same heart twice.

    Hearts are rendered ahead in worker processes; which come, and in which order, is decided by the seed alone. The
    stream begins with heart number `first` of them.
    `label_noise_mm`: see `with_drawn_outlines`. Close the stream to stop the workers.
    """
    one = partial(_phantom_patient, seed=seed, preprocessing=preprocessing, label_noise_mm=label_noise_mm)
    with closing(map_in_order(one, count(first))) as hearts:
        for cases in hearts:
            yield collect(cases, _pairs_phases(preprocessing))


def source_folders(data: DataConfig) -> dict[str, Path]:
    """Absolute folder of each source."""
    return {name: (Path(data.root).expanduser() / folder).resolve() for name, folder in data.sources.items()}


def refuse_missing_folders(data: DataConfig) -> None:
    """Raise UserError, naming the key to mend, where a source's folder is not there. The phantom's is made."""
    root = Path(data.root).expanduser()
    for name, folder in source_folders(data).items():
        if name == "phantom" or folder.is_dir():
            continue
        if not (root.is_dir() or Path(data.sources[name]).is_absolute()):
            raise UserError(f"data.root: {root.resolve()}: no such folder; set data.root to where the data sets are")
        raise UserError(f"data.sources.{name}: {folder}: no such folder; set it to where {name} was unpacked")


def write_configured_phantom(data: DataConfig, progress: Progress | None = None) -> None:
    """Write the phantom data set that `data` names, if it is not there yet."""
    write_phantom(source_folders(data)["phantom"], data.phantom, progress)


def _warn(doubts: list[str]) -> None:
    """The first few in full: whoever needs the others asks for them."""
    for doubt in doubts[:_SAID]:
        errors.print(safe_text(f"warning: {doubt}"), style="bold yellow")
    if len(doubts) > _SAID:
        others = f"warning: and {len(doubts) - _SAID} more of the kind; cmrfed data verify shows all"
        errors.print(others, style="bold yellow", markup=False)


def _stamp(path: Path | None) -> list[object]:
    """What changes when a file, or any file in a folder, does."""
    if path is None:
        return []
    files = files_under(path) if path.is_dir() else [path]
    stats = [(str(file), file.stat()) for file in files if file.exists()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _read_and_prepare(entry: Entry, preprocessing: PreprocessingConfig) -> Case:
    return prepare(load_case(entry), preprocessing)


def _phantom_patient(
    index: int, seed: int, preprocessing: PreprocessingConfig, label_noise_mm: float = 0.0
) -> list[Case]:
    rng = np.random.default_rng([seed, index])
    match preprocessing.source_image:
        case "scan":
            cases = phantom_patient_twice(index, seed, "bSSFP")
        case "contrast":
            cases = phantom_patient_twice(index, seed, "GRE")
        case _:
            cases = phantom_patient(index, seed)
    return [prepare(with_drawn_outlines(case, label_noise_mm, rng), preprocessing) for case in cases]


def _pairs_phases(preprocessing: PreprocessingConfig) -> bool:
    return preprocessing.source_image == "phase"
