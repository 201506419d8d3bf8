"""Data sets by name: where the files, labels and metadata of each are.

A data set is one file with two functions. `entries(root, name, unlabelled)` finds its cases without reading a voxel, so
that a wrong folder or table is reported at once and progress has a total; it gives an Entry a case, or a UserError for
a patient with whom something is wrong. `recognises(root)` says whether a folder has the data set's layout, by its names
alone. `load_case` then reads one of the entries.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cmrfed.config import UserError
from cmrfed.datasets import acdc, cine, folder, mmwhs, mnms, mnms2, mscmrseg, ocmr, pairs, sunnybrook, ukbiobank
from cmrfed.volumes import Entry


class Reader(NamedTuple):
    """The two functions of a data set."""

    entries: Callable[[Path, str, bool], Iterator[Entry | UserError]]
    recognises: Callable[[Path], bool]


DATASETS: Mapping[str, Reader] = {
    "acdc": Reader(acdc.entries, acdc.recognises),
    "mnms": Reader(mnms.entries, mnms.recognises),
    "mnms2": Reader(mnms2.entries, mnms2.recognises),
    "sunnybrook": Reader(sunnybrook.entries, sunnybrook.recognises),
    "mscmrseg": Reader(mscmrseg.entries, mscmrseg.recognises),
    "mmwhs": Reader(mmwhs.entries, mmwhs.recognises),
    "ukbiobank": Reader(ukbiobank.entries, ukbiobank.recognises),
    "ocmr": Reader(ocmr.entries, ocmr.recognises),
    "folder": Reader(folder.entries, folder.recognises),
    "phantom": Reader(mnms.entries, lambda root: (root / "phantom.json").is_file()),
    "pairs": Reader(pairs.entries, pairs.recognises),
    "cine": Reader(cine.entries, cine.recognises),
}
"""The closed table of readers. The phantom is written in the layout of M&Ms, with a receipt beside it."""

FALLBACKS = ("pairs", "cine")
"""Layouts so loose that each is recognised only where no other before it is."""


def find_entries(
    name: str, root: Path, unlabelled: bool = False, problems: list[UserError] | None = None
) -> list[Entry]:
    """All cases of the data set `name` under `root`, in order of patient and phase.

    Patient names are prefixed with the data set's, so that they stay unique over all data sets of a run. Patients
    without a segmentation come only if `unlabelled`. What is wrong with single patients is added to `problems`, and
    they are left out; without that list the first problem is raised.
    Raises UserError when the name is unknown, the folder missing or empty, or its table unreadable.
    """
    if name not in DATASETS:
        raise UserError(f"data.sources.{name}: unknown data set; allowed are {', '.join(DATASETS)}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set data.sources.{name} to where the {name} data set was unpacked")
    found = list(DATASETS[name].entries(root, name, unlabelled))
    entries = [entry for entry in found if isinstance(entry, Entry)]
    faults = [entry for entry in found if isinstance(entry, UserError)]
    repeats = {entry.patient: times for entry, times in _repeated(entries)}
    faults += [_repeat(root, entry, times) for entry, times in _repeated(entries)]
    if faults and problems is None:
        raise faults[0]
    if not found:
        kind, hint = (
            ("patients", "") if unlabelled else ("labelled patients", ", or take others with data.unlabelled=true")
        )
        raise UserError(f"{root}: holds no {kind} of {name}; check that the data set is unpacked here{hint}")
    if problems is not None:
        problems += faults
    kept = [entry for entry in entries if entry.patient not in repeats]
    return sorted(kept, key=lambda entry: (entry.patient, entry.phase))


def recognise(root: Path) -> list[str]:
    """Names of the data sets whose layout the folder has, by the names of its files alone; [] if none."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    names = [name for name in DATASETS if name not in FALLBACKS and DATASETS[name].recognises(root)]
    if "phantom" in names:  # whose layout is that of M&Ms
        names = [name for name in names if name != "mnms"]
    return names or [name for name in FALLBACKS if DATASETS[name].recognises(root)][:1]


def count_patients(entries: list[Entry]) -> int:
    """Number of distinct patients among the entries."""
    return len({entry.patient for entry in entries})


def _repeated(entries: list[Entry]) -> list[tuple[Entry, int]]:
    """The first entry of each patient and phase that is found more than once, and how often."""
    times = Counter((entry.patient, entry.phase) for entry in entries)
    firsts = {(entry.patient, entry.phase): entry for entry in reversed(entries)}
    return [(firsts[key], count) for key, count in times.items() if count > 1]


def _repeat(root: Path, entry: Entry, times: int) -> UserError:
    return UserError(f"{root}: patient {entry.patient} is found {times} times at {entry.phase}; keep one copy")
