"""ACDC: cardiac cine MRI of one hospital, Siemens scanners, five diagnoses.

Bernard et al., "Deep Learning Techniques for Automatic MRI Cardiac Multi-Structures Segmentation and Diagnosis",
IEEE Transactions on Medical Imaging 37(11), 2018.

    training/patient001/Info.cfg                        ED and ES as 1-based frame numbers, Group the diagnosis
    training/patient001/patient001_frame01.nii.gz       (x, y, slice) at that frame, numbered with two digits
    training/patient001/patient001_frame01_gt.nii.gz    0 background, 1 RV, 2 myocardium, 3 LV
    testing/...                                         the same
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cmrfed.config import UserError, not_readable
from cmrfed.datasets.tables import each_patient, frame_index, person
from cmrfed.shapes import Label
from cmrfed.volumes import Entry
from cmrfed.volumes.limits import printable
from cmrfed.volumes.trees import subfolders, volume_path

LABELS = {0: Label.BACKGROUND, 1: Label.RV, 2: Label.MYO, 3: Label.LV}
GROUPS = ("NOR", "DCM", "HCM", "MINF", "RV")
_MAX_INFO_BYTES = 2**16
_SEQUENCE = {"sequence": "bSSFP"}


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The ED and ES case of every patient under `root`, which holds training/ or testing/ or is one of them.

    Every patient is labelled. Wrong is an Info.cfg that lacks a key or holds a bad value, or a missing file.
    """
    patients = sorted(_patients(root), key=lambda path: path.name)
    yield from each_patient(partial(_patient_entries, dataset=dataset), patients)


def recognises(root: Path) -> bool:
    """Whether patients lie there with an Info.cfg each."""
    return any((folder / "Info.cfg").is_file() for folder in _patients(root))


def _patients(root: Path) -> list[Path]:
    """Folders of patients in training/ and testing/ where they exist, otherwise in the folder itself."""
    parts = [root / part for part in ("training", "testing") if (root / part).is_dir()] or [root]
    return [folder for part in parts for folder in subfolders(part) if folder.name.startswith("patient")]


def _patient_entries(folder: Path, dataset: str) -> Iterator[Entry]:
    info_path = folder / "Info.cfg"
    info = _read_info(info_path)
    group = _value(info_path, info, "Group")
    if group not in GROUPS:
        raise UserError(f"{info_path}: Group is {group!r:.40}; allowed are {', '.join(GROUPS)}")
    for phase in ("ED", "ES"):
        frame = frame_index(_value(info_path, info, phase), phase, info_path, first=1)
        stem = f"{folder.name}_frame{frame:02d}"
        yield Entry(
            image_path=_volume_path(folder, stem),
            mask_path=_volume_path(folder, f"{stem}_gt"),
            labels=LABELS,
            frame=None,
            patient=f"{dataset}-{folder.name}",
            dataset=dataset,
            vendor="Siemens",
            centre="Dijon",
            phase=phase,
            pathology=group,
            conditions=person(height_cm=info.get("Height", ""), weight_kg=info.get("Weight", "")) | _SEQUENCE,
        )


def _read_info(path: Path) -> dict[str, str]:
    """The `key: value` lines of an Info.cfg."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_INFO_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        otherwise = f"{path}: cannot be read ({type(error).__name__}); every ACDC patient has one"
        raise not_readable(path, error, otherwise) from None
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _value(path: Path, info: dict[str, str], key: str) -> str:
    if key not in info:
        found = printable(", ".join(info))[:80] or "nothing"
        raise UserError(f"{path}: has no {key!r}; found {found}; restore the original file")
    return info[key]


def _volume_path(folder: Path, stem: str) -> Path:
    """The file of that name, compressed or not."""
    if path := volume_path(folder, stem):
        return path
    raise UserError(f"{folder}: has no {stem}.nii.gz (or .nii), which its Info.cfg calls for; restore the original")
