"""UK Biobank's short-axis cines, converted to NIfTI by the ukbb_cardiac toolbox.

Bai et al., "Automated cardiovascular magnetic resonance image analysis with fully convolutional networks", Journal of
Cardiovascular Magnetic Resonance 20(65), 2018. No true file was at hand; the names and labels are those of the
toolbox (baiwenjia/ukbb_cardiac) and of public loaders of its output.

    SUBJECT/sa.nii.gz              (x, y, slice, frame)
    SUBJECT/sa_ED.nii.gz           (x, y, slice), frame 0 of it; sa_ES.nii.gz the same
    SUBJECT/label_sa_ED.nii.gz     0 background, 1 LV, 2 myocardium, 3 RV, where a human drew it; label_sa_ES the same

Other files of the folder (long axis, aorta, the network's own seg_sa_*) are not read. All scanners are Siemens Aera.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient
from cmrfed.shapes import Label
from cmrfed.volumes import FIND, Entry
from cmrfed.volumes.trees import subfolders, volume_path

LABELS = {0: Label.BACKGROUND, 1: Label.LV, 2: Label.MYO, 3: Label.RV}

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The labelled phases of every subject under `root`, a folder a subject.

    Subjects without a mask come only if `unlabelled`, from the cine where it is there, since that shows what moves.
    Wrong is a mask without its image, and a subject without any short-axis image.
    """
    subjects = [folder for folder in subfolders(root) if _is_subject(folder)]
    labelled = [folder for folder in subjects if _masks(folder)]
    if len(labelled) < len(subjects) and not unlabelled:
        _log.info("%s: %d subjects without labels are left out", root, len(subjects) - len(labelled))
    yield from each_patient(partial(_subject_entries, dataset=dataset), subjects if unlabelled else labelled)


def recognises(root: Path) -> bool:
    """Whether a subject's folder lies there."""
    return any(_is_subject(folder) for folder in subfolders(root))


def _is_subject(folder: Path) -> bool:
    return any(volume_path(folder, stem) for stem in ("sa", "sa_ED", "sa_ES", "label_sa_ED", "label_sa_ES"))


def _masks(folder: Path) -> dict[str, Path]:
    found = {phase: volume_path(folder, f"label_sa_{phase}") for phase in ("ED", "ES")}
    return {phase: path for phase, path in found.items() if path}


def _subject_entries(folder: Path, dataset: str) -> Iterator[Entry]:
    masks, cine = _masks(folder), volume_path(folder, "sa")
    for phase in masks or ("ED", "ES"):
        frame = volume_path(folder, f"sa_{phase}")
        image_path = frame if masks else cine or frame
        if image_path is None:
            raise UserError(f"{folder}: has no sa_{phase}.nii.gz (or .nii); restore it or remove label_sa_{phase}")
        yield Entry(
            image_path=image_path,
            mask_path=masks.get(phase),
            labels=LABELS,
            frame=FIND if image_path == cine else None,
            patient=f"{dataset}-{folder.name}",
            dataset=dataset,
            vendor="Siemens",
            centre="UK Biobank",
            phase=phase,
        )
