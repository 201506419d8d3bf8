"""Data sets by name: where the files, labels and metadata of each are.

A data set is one file with two functions. `entries(root, name, unlabelled)` finds its cases without reading a voxel, so
that a wrong folder or table is reported at once and progress has a total; it gives an Entry a case, or a UserError for
a patient with whom something is wrong. `recognises(root)` says whether a folder has the data set's layout, by its names
alone. `load_case` then reads one of the entries.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cmrfed.config import UserError
from cmrfed.datasets import acdc, cine, folder, mmwhs, mnms, mnms2, mscmrseg, ocmr, pairs, sunnybrook, ukbiobank
from cmrfed.datasets.names import doubtful_names, normal_form
from cmrfed.datasets.tables import NotOnDisk
from cmrfed.datasets.visits import found_twice, told_apart
from cmrfed.volumes import Entry
from cmrfed.volumes.limits import printable

__all__ = ["DATASETS", "FALLBACKS", "Reader", "count_patients", "doubtful_names", "find_entries", "order", "recognise"]


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
    """All cases of the data set `name` under `root`, in order of patient, visit and phase.

    Patient names are in Unicode's normal form and prefixed with the data set's, so that they stay unique over all data
    sets of a run. A patient who is there several times at a phase was there for several visits, told apart by their
    folders unless the reader knows better. Patients without a segmentation come only if `unlabelled`.

    What is wrong with single patients is added to `problems`, and they are left out; without that list the first
    problem is raised, unless all that is wrong is that a patient of the table is not on disk.
    Raises UserError when the name is unknown, the folder missing or empty, or its table unreadable.
    """
    if name not in DATASETS:
        raise UserError(f"data.sources.{name}: unknown data set; allowed are {', '.join(DATASETS)}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set data.sources.{name} to where the {name} data set was unpacked")
    found = [_named(entry) for entry in DATASETS[name].entries(root, name, unlabelled)]
    entries = told_apart(root, [entry for entry in found if isinstance(entry, Entry)])
    twice = found_twice(entries)
    faults = [entry for entry in found if isinstance(entry, UserError)] + [_twice(root, entry) for entry in twice]
    if problems is None and (stopping := [fault for fault in faults if not isinstance(fault, NotOnDisk)]):
        raise stopping[0]
    if all(isinstance(entry, NotOnDisk) for entry in found):
        kind, hint = (
            ("patients", "") if unlabelled else ("labelled patients", ", or take others with data.unlabelled=true")
        )
        raise UserError(f"{root}: holds no {kind} of {name}; check that the data set is unpacked here{hint}")
    if problems is not None:
        problems += faults
    left_out = {entry.patient for entry in twice}
    return sorted((entry for entry in entries if entry.patient not in left_out), key=order)


def order(entry: Entry) -> tuple[str, str, str]:
    """Entries are prepared in the order of patients, their visits, and phases."""
    return entry.patient, entry.visit, entry.phase


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


def _named(entry: Entry | UserError) -> Entry | UserError:
    """The one place where patients' names enter: the same letters are the same name, and can be printed."""
    if isinstance(entry, UserError):
        return entry
    patient = normal_form(entry.patient)
    if not patient.isprintable():
        where = printable(str(entry.image_path))
        return UserError(f"{where}: the patient's name {patient!r:.80} cannot be printed; rename it")
    return replace(entry, patient=patient)


def _twice(root: Path, entry: Entry) -> UserError:
    return UserError(
        f"{root}: patient {entry.patient} is found twice at {entry.phase}, last as {entry.image_path}; keep one copy, "
        "or name visits in a cases.csv"
    )
