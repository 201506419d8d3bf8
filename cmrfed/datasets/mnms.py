"""M&Ms: cardiac cine MRI of several hospitals and scanner vendors. The phantom is written in the same layout.

Campello et al., "Multi-Centre, Multi-Vendor and Multi-Disease Cardiac Segmentation: The M&Ms Challenge",
IEEE Transactions on Medical Imaging 40(12), 2021.

    OpenDataset/*.csv                                        a row a patient; ED and ES are 0-based frames
    OpenDataset/Training/Labeled/CODE/CODE_sa.nii.gz         (x, y, slice, frame)
    OpenDataset/Training/Labeled/CODE/CODE_sa_gt.nii.gz      0 background, 1 LV, 2 myocardium, 3 RV
    OpenDataset/Training/Unlabeled/CODE/CODE_sa.nii.gz       no mask; ED and ES may be missing in the table
    OpenDataset/Validation/..., Testing/...                  as Training/Labeled
"""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient, frame_index, read_table
from cmrfed.shapes import UNKNOWN, Label
from cmrfed.volumes import FIND, Entry, canonical_vendor

LABELS = {0: Label.BACKGROUND, 1: Label.LV, 2: Label.MYO, 3: Label.RV}
COLUMNS = ("External code", "VendorName", "Centre", "ED", "ES", "Pathology")
UNLABELLED_FOLDER = "Unlabeled"

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The ED and ES case of every labelled patient under `root`, which holds OpenDataset/ or is that folder.

    Patients under Training/Unlabeled come only if `unlabelled`. Patients of the table that are not on disk are left
    out, since the data set is handed out in parts. Raises UserError when the table cannot be read or lacks a column;
    wrong is a bad value, a patient on disk who is not in it, or a labelled patient without a mask.
    """
    root = root / "OpenDataset" if (root / "OpenDataset").is_dir() else root
    table_path = _table_path(root)
    table = read_table(table_path, COLUMNS)
    images = sorted(root.rglob("*_sa.nii.gz"))
    labelled = [path for path in images if not _is_unlabelled(path, root)]
    if len(labelled) < len(images) and not unlabelled:
        _log.info("%s: %d patients without labels are left out", root, len(images) - len(labelled))
    read = partial(_patient_entries, root=root, table_path=table_path, table=table, dataset=dataset)
    yield from each_patient(read, images if unlabelled else labelled)


def recognises(root: Path) -> bool:
    """Whether there is one table and volumes named as in M&Ms."""
    root = root / "OpenDataset" if (root / "OpenDataset").is_dir() else root
    return any(root.glob("*.csv")) and any(root.rglob("*_sa.nii.gz"))


def _is_unlabelled(path: Path, root: Path) -> bool:
    return UNLABELLED_FOLDER in path.relative_to(root).parts


def _patient_entries(
    image_path: Path, root: Path, table_path: Path, table: Mapping[str, dict[str, str]], dataset: str
) -> Iterator[Entry]:
    code = image_path.name.removesuffix("_sa.nii.gz")
    if code not in table:
        raise UserError(f"{image_path}: patient {code} is not in {table_path.name}; add its row or remove the folder")
    row, where = table[code], f"{table_path}: patient {code}"
    mask_path = None if _is_unlabelled(image_path, root) else image_path.with_name(f"{code}_sa_gt.nii.gz")
    if mask_path and not mask_path.is_file():
        raise UserError(f"{mask_path}: patient {code} has no mask; restore it, or move it to Training/Unlabeled")
    for phase in ("ED", "ES"):
        yield Entry(
            image_path=image_path,
            mask_path=mask_path,
            labels=LABELS,
            frame=_frame(row[phase], phase, where, optional=mask_path is None),
            patient=f"{dataset}-{code}",
            dataset=dataset,
            vendor=canonical_vendor(row["VendorName"], where),
            centre=row["Centre"] or UNKNOWN,
            phase=phase,
            pathology=row["Pathology"] or UNKNOWN,
        )


def _frame(text: str, phase: str, where: str, optional: bool) -> int | Literal["find"]:
    return FIND if optional and not text else frame_index(text, phase, where)


def _table_path(root: Path) -> Path:
    found = sorted(root.glob("*.csv"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{root}: expected one information table *.csv, found {names}; is this the M&Ms folder?")
    return found[0]
