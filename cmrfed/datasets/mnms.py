"""M&Ms: cardiac cine MRI of several hospitals and scanner vendors. The phantom is written in the same layout.

Campello et al., "Multi-Centre, Multi-Vendor and Multi-Disease Cardiac Segmentation: The M&Ms Challenge",
IEEE Transactions on Medical Imaging 40(12), 2021.

    OpenDataset/*.csv                                        a row a patient; ED and ES are 0-based frames
    OpenDataset/Training/Labeled/CODE/CODE_sa.nii.gz         (x, y, slice, frame)
    OpenDataset/Training/Labeled/CODE/CODE_sa_gt.nii.gz      0 background, 1 LV, 2 myocardium, 3 RV
    OpenDataset/Training/Unlabeled/..., Validation/..., Testing/...
"""

import csv
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.shapes import UNKNOWN, VENDORS, Label
from cmrfed.volumes import Entry

LABELS = {0: Label.BACKGROUND, 1: Label.LV, 2: Label.MYO, 3: Label.RV}
COLUMNS = ("External code", "VendorName", "Centre", "ED", "ES", "Pathology")
VENDOR_WORDS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "general electric": "GE",
    "ge": "GE",
    "canon": "Canon",
    "toshiba": "Canon",
    UNKNOWN: UNKNOWN,
}
"""How a vendor's name begins in tables and DICOM headers -> its canonical name. Unknown is said, never assumed."""

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str = "mnms") -> list[Entry]:
    """The ED and ES case of every labelled patient under `root`, which holds OpenDataset/ or is that folder.

    Patients of the table that are not on disk are left out, since the data set is handed out in parts; so are those
    under Training/Unlabeled. Raises UserError when the table lacks a column or holds a bad value, when a patient on
    disk is not in it, or when a labelled patient has no mask.
    """
    root = root / "OpenDataset" if (root / "OpenDataset").is_dir() else root
    table_path = _table_path(root)
    table = _read_table(table_path)
    images = sorted(root.rglob("*_sa.nii.gz"))
    labelled = [path for path in images if "Unlabeled" not in path.relative_to(root).parts]
    if len(labelled) < len(images):
        _log.info("%s: %d patients without labels are left out", root, len(images) - len(labelled))
    return [entry for path in labelled for entry in _patient_entries(path, table_path, table, dataset)]


def canonical_vendor(name: str, where: object) -> str:
    """The vendor's name as in `cmrfed.shapes.VENDORS`. Raises UserError, naming `where`, when it is none of them."""
    words = re.sub(r"[\W_]+", " ", name.lower()).strip() + " "
    for beginning, vendor in VENDOR_WORDS.items():
        if words.startswith(f"{beginning} "):
            return vendor
    raise UserError(f"{where}: vendor is {name!r}; allowed are {', '.join(VENDORS)}")


def _patient_entries(
    image_path: Path, table_path: Path, table: Mapping[str, dict[str, str]], dataset: str
) -> Iterator[Entry]:
    code = image_path.name.removesuffix("_sa.nii.gz")
    if code not in table:
        raise UserError(f"{image_path}: patient {code} is not in {table_path.name}; add its row or remove the folder")
    mask_path = image_path.with_name(f"{code}_sa_gt.nii.gz")
    if not mask_path.is_file():
        raise UserError(f"{mask_path}: patient {code} has no mask; restore it, or move it to Training/Unlabeled")
    row, where = table[code], f"{table_path}: patient {code}"
    for phase in ("ED", "ES"):
        yield Entry(
            image_path=image_path,
            mask_path=mask_path,
            labels=LABELS,
            frame=_frame(row[phase], phase, where),
            patient=f"{dataset}-{code}",
            dataset=dataset,
            vendor=canonical_vendor(row["VendorName"], where),
            centre=row["Centre"] or UNKNOWN,
            phase=phase,
            pathology=row["Pathology"] or UNKNOWN,
        )


def _table_path(root: Path) -> Path:
    found = sorted(root.glob("*.csv"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{root}: expected one information table *.csv, found {names}; is this the M&Ms folder?")
    return found[0]


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    """Rows by patient code. Spreadsheets begin the file with a byte-order mark and may leave columns unnamed."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows = [{key: value.strip() for key, value in row.items() if key} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}); save it as UTF-8 with commas") from None
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path}: has no column {missing[0]!r}; needed are {', '.join(COLUMNS)}")
    table = {row["External code"]: row for row in rows}
    if len(table) < len(rows):
        raise UserError(f"{path}: {len(rows)} rows name {len(table)} patients; give each External code once")
    return table


def _frame(text: str, phase: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"{where}: {phase} is {text!r}; expected a frame index counted from 0")
    return int(text)
