"""A plain folder, the layout for a hospital's own data.

    cases.csv      one row a case, UTF-8, with a header, separated by commas, semicolons or tabs
    images/        NIfTI (x, y, slice) or (x, y, slice, frame), or folders with one DICOM short-axis series each
    masks/         NIfTI on the same grid: 0 background, 1 LV, 2 myocardium, 3 RV, 255 where nobody has labelled; of
                   all frames of a cine, or of the one frame that its row names

Columns of cases.csv, in any order; others are ignored:

    patient      needed. A pseudonym, the same for every phase and visit of one person.
    image        needed. A file or folder in images/, such as "a17.nii.gz" or "2021/a17".
    mask         a file in masks/; empty or no column: not labelled.
    phase        ED, ES or unknown; empty or no column: a cine gives two cases, whose ED and ES are found (from the
                 mask where it covers the frames, else from the cine); a single frame is of unknown phase.
    frame        0-based frame of a cine at that phase; empty or no column: found, for ED and ES.
    vendor       as the scanner writes it ("SIEMENS", "Philips Medical Systems"); empty: that of the DICOM header, else
                 unknown; unknown too for makers that the generator has no style of ("UIH", "Hitachi").
    centre       any name; empty: unknown.
    pathology    any name; empty: unknown.
    sex, age, height, weight, field_strength, sequence, severity
                 F or M; years; cm; kg; T; bSSFP, GRE, LGE or T2; 0 to 1: what a generator may be told
                 (generator.conditions); empty, no column or no such value: unknown.
    visit        any name, in order of time; empty or no column: the rows of a patient are one visit unless they repeat
                 a phase with another image, and then the n-th row at each phase is of the n-th visit.

Files are opened only inside images/ and masks/, wherever names or links may point.
"""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from cmrfed.conditions import PHASES, UNKNOWN, UNLABELLED
from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient, file_inside, frame_index, person, read_rows
from cmrfed.datasets.visits import with_visits
from cmrfed.shapes import Label
from cmrfed.volumes import FIND, Entry, canonical_vendor, open_cine

TABLE = "cases.csv"
COLUMNS = ("patient", "image")
PERSON = ("sex", "age", "height", "weight")
CONDITIONS = ("field_strength", "sequence", "severity")
LABELS: Mapping[int, int] = {**{label.value: label for label in Label}, UNLABELLED: UNLABELLED}

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The cases of every row of the table in `root`; rows without a mask only if `unlabelled`.

    Raises UserError when the table cannot be read. Wrong is a row with a bad value or a missing file.
    """
    rows = [*enumerate(with_visits(read_rows(root / TABLE, COLUMNS)), start=1)]
    chosen = [(number, row) for number, row in rows if unlabelled or row.get("mask")]
    if len(chosen) < len(rows):
        _log.info("%s: %d rows without a mask are left out", root, len(rows) - len(chosen))
    yield from each_patient(partial(_row_entries, root=root, dataset=dataset), chosen)


def recognises(root: Path) -> bool:
    """Whether the table and the folder of images lie there."""
    return (root / TABLE).is_file() and (root / "images").is_dir()


def _row_entries(numbered: tuple[int, dict[str, str]], root: Path, dataset: str) -> Iterator[Entry]:
    number, row = numbered
    where = f"{root / TABLE}: row {number}"
    image_path = file_inside(root / "images", row["image"], where)
    mask_path = file_inside(root / "masks", row["mask"], where) if row.get("mask") else None
    if mask_path is not None and not mask_path.is_file():
        raise UserError(f"{where}: mask {row['mask']!r:.80} is no file; give a NIfTI file")
    cine = open_cine(image_path)
    vendor = canonical_vendor(row["vendor"], where) if row.get("vendor") else cine.vendor
    for phase in _phases(row, cine.frames or 1, where):
        yield Entry(
            image_path=image_path,
            mask_path=mask_path,
            labels=LABELS,
            frame=_frame(row, phase, cine.frames, where),
            patient=f"{dataset}-{_name(row, 'patient', where)}",
            dataset=dataset,
            vendor=vendor,
            centre=_name(row, "centre", where),
            phase=phase,
            pathology=_name(row, "pathology", where),
            conditions=_conditions(row),
            visit=_name(row, "visit", where) if row["visit"] else "",
        )


def _conditions(row: dict[str, str]) -> dict[str, object]:
    who = person(*(row.get(name, "") for name in PERSON))
    return who | {name: row[name] for name in CONDITIONS if row.get(name)}


def _phases(row: dict[str, str], frames: int, where: str) -> tuple[str, ...]:
    phase = row.get("phase", "")
    if not phase:
        return ("ED", "ES") if frames > 1 and not row.get("frame") else (UNKNOWN,)
    if phase not in PHASES:
        raise UserError(f"{where}: phase is {phase!r:.40}; allowed are {', '.join(PHASES)} or nothing")
    return (phase,)


def _frame(row: dict[str, str], phase: str, frames: int | None, where: str) -> int | Literal["find"] | None:
    if row.get("frame"):
        return frame_index(row["frame"], "frame", where)
    if (frames or 1) == 1:
        return None
    if phase == UNKNOWN:
        raise UserError(f"{where}: the image has {frames} frames and the phase is unknown; give the column frame")
    return FIND


def _name(row: dict[str, str], column: str, where: str) -> str:
    """A name that can be printed and put in a table; unknown where it is empty and may be."""
    name = row.get(column, "")
    if not name and column != "patient":
        return UNKNOWN
    if not (0 < len(name) <= 64 and name.isprintable()):
        raise UserError(f"{where}: {column} is {name!r:.80}; give 1 to 64 printable characters")
    return name
