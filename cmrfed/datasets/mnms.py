"""M&Ms: cardiac cine MRI of several hospitals and scanner vendors. The phantom is written in the same layout.

Campello et al., "Multi-Centre, Multi-Vendor and Multi-Disease Cardiac Segmentation: The M&Ms Challenge",
IEEE Transactions on Medical Imaging 40(12), 2021.

    OpenDataset/*.csv                                        a row a patient; ED and ES are 0-based frames
    OpenDataset/Training/Labeled/CODE/CODE_sa.nii.gz         (x, y, slice, frame); or .nii
    OpenDataset/Training/Labeled/CODE/CODE_sa_gt.nii.gz      0 background, 1 LV, 2 myocardium, 3 RV
    OpenDataset/Training/Unlabeled/CODE/CODE_sa.nii.gz       no mask; ED and ES may be missing in the table
    OpenDataset/Validation/..., Testing/...                  as Training/Labeled
"""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.datasets.names import normal_form
from cmrfed.datasets.tables import each_patient, frame_index, not_on_disk, person, read_table
from cmrfed.shapes import Label
from cmrfed.volumes import FIND, Entry, canonical_vendor
from cmrfed.volumes.trees import children, volume_path, volumes_under

LABELS = {0: Label.BACKGROUND, 1: Label.LV, 2: Label.MYO, 3: Label.RV}
COLUMNS = ("External code", "VendorName", "Centre", "ED", "ES", "Pathology")
PERSON = ("Sex", "Age", "Height", "Weight")
UNLABELLED_FOLDER = "Unlabeled"
IMAGE = "_sa"

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The ED and ES case of every labelled patient under `root`, which holds OpenDataset/ or is that folder.

    Patients under Training/Unlabeled come only if `unlabelled`. Raises UserError when the table cannot be read or lacks
    a column; wrong is a bad value, a patient on disk who is not in the table or the other way round, or a labelled
    patient without a mask.
    """
    root = root / "OpenDataset" if (root / "OpenDataset").is_dir() else root
    table_path = _table_path(root)
    table = read_table(table_path, COLUMNS)
    images = _images(root)
    labelled = [(path, stem) for path, stem in images if not _is_unlabelled(path, root)]
    if len(labelled) < len(images) and not unlabelled:
        _log.info("%s: %d patients without labels are left out", root, len(images) - len(labelled))
    read = partial(_patient_entries, root=root, table_path=table_path, table=table, dataset=dataset)
    yield from each_patient(read, images if unlabelled else labelled)
    expected = [code for code, row in table.items() if unlabelled or (row["ED"] and row["ES"])]
    yield from not_on_disk(table_path, expected, {_code(stem) for _, stem in images})


def recognises(root: Path) -> bool:
    """Whether there is one table and volumes named as in M&Ms."""
    root = root / "OpenDataset" if (root / "OpenDataset").is_dir() else root
    return bool(_tables(root)) and any(stem.endswith(IMAGE) for stem, _ in volumes_under(root))


def _images(root: Path) -> list[tuple[Path, str]]:
    """Every image, and its name without the ending."""
    return sorted((path, stem) for stem, path in volumes_under(root) if stem.endswith(IMAGE))


def _code(stem: str) -> str:
    """The patient's code as the table has it."""
    return normal_form(stem.removesuffix(IMAGE))


def _is_unlabelled(path: Path, root: Path) -> bool:
    return UNLABELLED_FOLDER in path.relative_to(root).parts


def _patient_entries(
    image: tuple[Path, str], root: Path, table_path: Path, table: Mapping[str, dict[str, str]], dataset: str
) -> Iterator[Entry]:
    image_path, stem = image
    code = _code(stem)
    if code not in table:
        raise UserError(f"{image_path}: patient {code} is not in {table_path.name}; add its row or remove the folder")
    row, where = table[code], f"{table_path}: patient {code}"
    unlabelled = _is_unlabelled(image_path, root)
    mask_path = None if unlabelled else volume_path(image_path.parent, f"{stem}_gt")
    if not (unlabelled or mask_path):
        wanted = image_path.with_name(f"{stem}_gt.nii.gz")
        raise UserError(f"{wanted}: patient {code} has no mask; restore it, or move the patient to Training/Unlabeled")
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
            conditions=person(*(row.get(name, "") for name in PERSON)) | {"sequence": "bSSFP"},
        )


def _frame(text: str, phase: str, where: str, optional: bool) -> int | Literal["find"]:
    return FIND if optional and not text else frame_index(text, phase, where)


def _tables(root: Path) -> list[Path]:
    return [path for path in children(root) if path.suffix == ".csv"]


def _table_path(root: Path) -> Path:
    found = _tables(root)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{root}: expected one information table *.csv, found {names}; is this the M&Ms folder?")
    return found[0]
