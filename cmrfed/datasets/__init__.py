"""Data sets by name: where the files, labels and metadata of each are.

A data set is one function `entries(root, name)` that finds its cases without reading a voxel, so that a wrong folder or
table is reported at once and progress has a total. `load_case` then reads one of them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.datasets import acdc, mnms
from cmrfed.volumes import Entry

DATASETS: Mapping[str, Callable[[Path, str], list[Entry]]] = {
    "acdc": acdc.entries,
    "mnms": mnms.entries,
    "phantom": mnms.entries,
}
"""The closed table of readers. The phantom is written in the layout of M&Ms."""


def find_entries(name: str, root: Path) -> list[Entry]:
    """All cases of the data set `name` under `root`, patients in order, ED before ES.

    Patient names are prefixed with the data set's, so that they stay unique over all data sets of a run.
    Raises UserError when the name is unknown, the folder missing or empty, or its metadata inconsistent.
    """
    if name not in DATASETS:
        raise UserError(f"data.sources.{name}: unknown data set; allowed are {', '.join(DATASETS)}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set data.sources.{name} to where the {name} data set was unpacked")
    entries = DATASETS[name](root, name)
    if not entries:
        raise UserError(f"{root}: holds no labelled patients of {name}; check that the data set is unpacked here")
    for (patient, phase), times in Counter((entry.patient, entry.phase) for entry in entries).items():
        if times > 1:
            raise UserError(f"{root}: patient {patient} is found {times} times at {phase}; keep one copy")
    return sorted(entries, key=lambda entry: (entry.patient, entry.phase))


def count_patients(entries: list[Entry]) -> int:
    """Number of distinct patients among the entries."""
    return len({entry.patient for entry in entries})
