"""M&Ms-2: cardiac MRI of three Spanish hospitals and vendors, right-ventricle diseases among them.

Martín-Isla et al., "Deep Learning Segmentation of the Right Ventricle in Cardiac MRI: The M&Ms Challenge",
IEEE Journal of Biomedical and Health Informatics 27(7), 2023. No true file was at hand; the layout is that of the
challenge's page and of public loaders of it.

    dataset_information.csv              SUBJECT_CODE (no leading zeros), DISEASE, VENDOR, SCANNER, FIELD; padded with
                                         rows of commas
    dataset/001/001_SA_ED.nii.gz         (x, y, slice), short axis; _SA_ES the same
    dataset/001/001_SA_ED_gt.nii.gz      0 background, 1 LV, 2 myocardium, 3 RV
    dataset/001/001_SA_CINE.nii.gz       all frames, not needed; nor are the long-axis 001_LA_*.nii.gz
"""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient, not_on_disk, read_table
from cmrfed.shapes import Label
from cmrfed.volumes import Entry, canonical_vendor
from cmrfed.volumes.trees import subfolders, volume_path

LABELS = {0: Label.BACKGROUND, 1: Label.LV, 2: Label.MYO, 3: Label.RV}
TABLE = "dataset_information.csv"
COLUMNS = ("SUBJECT_CODE", "DISEASE", "VENDOR")

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The short-axis ED and ES case of every patient under `root`, which holds the table and dataset/.

    Patients without either mask come only if `unlabelled`. Raises UserError when the table cannot be read; wrong is a
    patient on disk who is not in the table or the other way round, an unknown vendor, a missing image, or one mask of
    two.
    """
    table_path = root / TABLE
    table = {code.zfill(3): row for code, row in read_table(table_path, COLUMNS).items()}
    folders = [folder for folder in subfolders(_data(root)) if folder.name.isdigit()]
    labelled = [folder for folder in folders if any(_mask(folder, phase) for phase in ("ED", "ES"))]
    if len(labelled) < len(folders) and not unlabelled:
        _log.info("%s: %d patients without labels are left out", root, len(folders) - len(labelled))
    read = partial(_patient_entries, table_path=table_path, table=table, dataset=dataset)
    yield from each_patient(read, folders if unlabelled else labelled)
    yield from not_on_disk(table_path, table, {folder.name for folder in folders})


def recognises(root: Path) -> bool:
    """Whether the table and a folder of patients lie there."""
    return (root / TABLE).is_file() and any(folder.name.isdigit() for folder in subfolders(_data(root)))


def _data(root: Path) -> Path:
    return root / "dataset" if (root / "dataset").is_dir() else root


def _mask(folder: Path, phase: str) -> Path | None:
    return volume_path(folder, f"{folder.name}_SA_{phase}_gt")


def _patient_entries(
    folder: Path, table_path: Path, table: Mapping[str, dict[str, str]], dataset: str
) -> Iterator[Entry]:
    code = folder.name
    if code not in table:
        raise UserError(f"{folder}: patient {code} is not in {table_path.name}; add its row or remove the folder")
    masks = {phase: _mask(folder, phase) for phase in ("ED", "ES")}
    for phase, mask_path in masks.items():
        image_path = volume_path(folder, f"{code}_SA_{phase}")
        if image_path is None:
            raise UserError(f"{folder}: has no {code}_SA_{phase}.nii.gz (or .nii); restore the original")
        if mask_path is None and any(masks.values()):
            raise UserError(f"{folder}: has no {code}_SA_{phase}_gt.nii.gz but the other mask; restore the original")
        yield Entry(
            image_path=image_path,
            mask_path=mask_path,
            labels=LABELS,
            frame=None,
            patient=f"{dataset}-{code}",
            dataset=dataset,
            vendor=canonical_vendor(table[code]["VENDOR"], f"{table_path}: patient {code}"),
            centre=UNKNOWN,
            phase=phase,
            pathology=table[code]["DISEASE"] or UNKNOWN,
            conditions={"field_strength": table[code].get("FIELD"), "sequence": "bSSFP"},
        )
