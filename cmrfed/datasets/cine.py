"""Anyone's unlabelled short-axis cines: a folder with a file or folder a patient.

    PATIENT.nii.gz               (x, y, slice, frame), or (x, y, slice) at an unknown phase
    PATIENT/anything.nii.gz      the same, the only NIfTI file of the folder
    PATIENT/...                  DICOM files of one short-axis series, see `cmrfed.volumes.dicom`

The patient is the name of the file or folder, which should be a pseudonym: names inside DICOM files are never read. The
vendor is that of the DICOM header. ED is the first frame and ES is found. Other files right under the folder, such as
tables and notes, are not read.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient
from cmrfed.volumes import FIND, Entry, holds_dicom, open_cine
from cmrfed.volumes.trees import nifti_stem, subfolders, volumes_in


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """ED and ES of every patient under `root`, if `unlabelled`; one case of unknown phase where there is one frame.

    Wrong is a patient whose image's headers cannot be read, or with more than one NIfTI file.
    """
    if unlabelled:
        patients = [*_niftis(root), *subfolders(root)]
        yield from each_patient(partial(_patient_entries, dataset=dataset), sorted(patients))


def recognises(root: Path) -> bool:
    """Whether there is a NIfTI file, or a folder with one or with DICOM files."""
    return bool(_niftis(root)) or any(_niftis(folder) or holds_dicom(folder) for folder in subfolders(root))


def _niftis(folder: Path) -> list[Path]:
    return [path for _, path in volumes_in(folder)]


def _patient_entries(path: Path, dataset: str) -> Iterator[Entry]:
    image_path = _image(path) if path.is_dir() else path
    cine = open_cine(image_path)
    name = path.name if path.is_dir() else nifti_stem(path.name)
    several = (cine.frames or 1) > 1
    for phase in ("ED", "ES") if several else (UNKNOWN,):
        yield Entry(
            image_path=image_path,
            mask_path=None,
            labels={},
            frame=FIND if several else None,
            patient=f"{dataset}-{name}",
            dataset=dataset,
            vendor=cine.vendor,
            phase=phase,
        )


def _image(folder: Path) -> Path:
    """The folder's one NIfTI file, or the folder itself for DICOM."""
    files = _niftis(folder)
    if len(files) > 1:
        raise UserError(f"{folder}: holds {len(files)} NIfTI files; keep one cine, or name visits in a cases.csv")
    return files[0] if files else folder
