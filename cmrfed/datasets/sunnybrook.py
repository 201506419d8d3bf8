"""Sunnybrook Cardiac Data: cine MRI of 45 patients on one GE scanner, the left ventricle drawn at ED and ES.

Radau et al., "Evaluation Framework for Algorithms Segmenting Short Axis Cardiac MRI", The MIDAS Journal, 2009. No true
volume was at hand; names and table are those of public copies of the Cardiac Atlas Project's archive.

    scd_patientdata.csv                                      PatientID SCD0000101, OriginalID SC-HF-I-1, Pathology
    SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0048.dcm    all slices and frames, numbered through
    SCD_ManualContours/SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-0048-icontour-manual.txt    blood
                                                             IM-0001-0048-ocontour-manual.txt      muscle, mostly at ED

Only the left ventricle is drawn: what lies outside its outermost contour is UNLABELLED, not background. Which frames
are ED and ES is not said; of those with contours the larger cavity is ED. The original IDs are padded with a zero in
some copies and not in others, so they are compared as numbers.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient, not_on_disk, read_table
from cmrfed.volumes import FIND, Entry
from cmrfed.volumes.trees import folders_under, subfolders

TABLE = "scd_patientdata.csv"
COLUMNS = ("PatientID", "OriginalID", "Pathology")
PATIENT = re.compile(r"SCD\d.*")
SERIES_PREFIX = "CINESAX"
CONTOURS = ("contours-manual", "IRCCI-expert")

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """ED and ES of every patient with contours under `root`, which holds the table; of all patients if `unlabelled`.

    Raises UserError when the table cannot be read. Wrong is a patient on disk who is not in it or the other way round,
    or one with no or two short-axis series.
    """
    table = read_table(root / TABLE, COLUMNS)
    folders = list(folders_under(root))
    contours = {_plain_id(path.parent.parent.name): path for path in folders if path.parts[-2:] == CONTOURS}
    patients = sorted(path for path in folders if PATIENT.fullmatch(path.name))
    labelled = [path for path in patients if path.name not in table or _original(table, path) in contours]
    if len(labelled) < len(patients) and not unlabelled:
        _log.info("%s: %d patients without contours are left out", root, len(patients) - len(labelled))
    read = partial(_patient_entries, table=table, contours=contours, dataset=dataset)
    yield from each_patient(read, patients if unlabelled else labelled)
    yield from not_on_disk(root / TABLE, table, {path.name for path in patients})


def recognises(root: Path) -> bool:
    """Whether the table and a short-axis series lie there."""
    return (root / TABLE).is_file() and any(
        PATIENT.fullmatch(path.parent.name) and path.name.startswith(SERIES_PREFIX) for path in folders_under(root)
    )


def _patient_entries(
    folder: Path, table: Mapping[str, dict[str, str]], contours: Mapping[str, Path], dataset: str
) -> Iterator[Entry]:
    if folder.name not in table:
        raise UserError(f"{folder}: patient {folder.name} is not in {TABLE}; add its row or remove the folder")
    series = [path for path in subfolders(folder) if path.name.startswith(SERIES_PREFIX)]
    if len(series) != 1:
        names = ", ".join(path.name for path in series) or "none"
        raise UserError(f"{folder}: expected one {SERIES_PREFIX}* series, found {names}; restore the original")
    for phase in ("ED", "ES"):
        yield Entry(
            image_path=series[0],
            mask_path=contours.get(_original(table, folder)),
            labels={},
            frame=FIND,
            patient=f"{dataset}-{folder.name}",
            dataset=dataset,
            vendor="GE",
            centre="Sunnybrook",
            phase=phase,
            pathology=table[folder.name]["Pathology"] or UNKNOWN,
        )


def _original(table: Mapping[str, dict[str, str]], folder: Path) -> str:
    return _plain_id(table[folder.name]["OriginalID"])


def _plain_id(name: str) -> str:
    """SC-HF-I-01 and SC-HF-I-1 are one patient."""
    return re.sub(r"-0+(?=\d)", "-", name.strip().upper())
