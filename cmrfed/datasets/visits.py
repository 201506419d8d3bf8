"""Visits of one patient, told apart where nobody says which a volume is of; and what is no visit, but there twice.

A patient is one privacy unit however often they were scanned, so visits share the patient's name. What is measured of a
heart from two volumes, such as an ejection fraction, is measured within a visit: one's end diastole is never put beside
the end systole of another.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from pathlib import Path

from cmrfed.volumes import Entry

TableRow = dict[str, str]


def told_apart(root: Path, entries: Iterable[Entry]) -> list[Entry]:
    """The entries, with the folder they lie in as their visit where a patient is there several times at a phase."""
    entries = list(entries)
    several = {entry.patient for entry in _repeated(entries, lambda entry: (entry.patient, entry.visit, entry.phase))}
    return [
        replace(entry, visit=entry.image_path.parent.relative_to(root).as_posix())
        if entry.patient in several and not entry.visit
        else entry
        for entry in entries
    ]


def found_twice(entries: Iterable[Entry]) -> list[Entry]:
    """An entry for each patient and phase that is there twice in one visit, or as one file in two."""
    several = _repeated(entries, lambda entry: (entry.patient, entry.phase))
    found = [
        *_repeated(several, lambda entry: (entry.patient, entry.visit, entry.phase)),
        *_repeated(several, lambda entry: (entry.patient, entry.image_path.resolve(), entry.phase)),
    ]
    return list({(entry.patient, entry.phase): entry for entry in found}.values())


def with_visits(rows: list[TableRow]) -> list[TableRow]:
    """Rows of a table with the columns patient, image and maybe phase and visit, each with its visit: as given, or as
    the rows of the patient that give none tell it."""
    silent: defaultdict[str, list[TableRow]] = defaultdict(list)
    for row in rows:
        row.setdefault("visit", "")
        if not row["visit"]:
            silent[row["patient"]].append(row)
    for own in silent.values():
        _number_visits(own)
    return rows


def _number_visits(rows: list[TableRow]) -> None:
    """Number the visits of one patient's rows where a phase is there with several images.

    Rows of one image are of one visit, the n-th image of ED alone goes with the n-th of ES alone if there are as many,
    and any other image is a visit of its own.
    """
    shown: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        shown[row["image"]] |= {row["phase"]} if row.get("phase") else {"ED", "ES"}
    if sum(map(len, shown.values())) == len(set().union(*shown.values())):
        return
    of_ed, of_es = ([image for image, phases in shown.items() if phases == {phase}] for phase in ("ED", "ES"))
    partner = dict(zip(of_es, of_ed, strict=True)) if len(of_ed) == len(of_es) else {}
    firsts = [image for image in shown if image not in partner]
    for row in rows:
        row["visit"] = f"{firsts.index(partner.get(row['image'], row['image'])) + 1:03}"


def _repeated(entries: Iterable[Entry], key: Callable[[Entry], Hashable]) -> list[Entry]:
    """All entries that share their key with another."""
    groups: defaultdict[Hashable, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return [entry for group in groups.values() if len(group) > 1 for entry in group]
