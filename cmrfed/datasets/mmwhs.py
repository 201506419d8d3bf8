"""MM-WHS: whole-heart balanced SSFP of 20 patients with seven labelled structures, cut here into short-axis stacks.

Zhuang and Shen, "Multi-scale patch and multi-modality atlases for whole heart segmentation of MRI", Medical Image
Analysis 31, 2016. No true file was at hand; names and labels are those of the challenge's page and of public loaders.

    mr_train/mr_train_1001_image.nii.gz     (x, y, z), about 1 mm, not short-axis; ct_train is not read
    mr_train/mr_train_1001_label.nii.gz     205 myocardium, 420 left atrium, 500 LV, 550 right atrium, 600 RV,
                                            820 ascending aorta, 850 pulmonary artery, and a stray 421 that is atrium

The long axis runs through the ventricle's blood away from the left atrium. The atria and vessels become background, as
they are in the data sets that were labelled slice by slice. The files do not say when in the heart beat they are.
"""

import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient
from cmrfed.shapes import Label
from cmrfed.volumes import Entry, LongAxis
from cmrfed.volumes.trees import volume_path, volumes_under

_TRAINING = "mr_train_"
LEFT_ATRIUM = (420, 421)
LABELS = {
    0: Label.BACKGROUND,
    205: Label.MYO,
    500: Label.LV,
    600: Label.RV,
    **dict.fromkeys((*LEFT_ATRIUM, 550, 820, 850), Label.BACKGROUND),
}
LONG_AXIS = LongAxis(ventricle=(500,), atrium=LEFT_ATRIUM)
NAME = re.compile(r"mr_(train|test)_\d{1,6}_image")

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The case of every labelled MR volume anywhere under `root`; without labels there is no long axis to cut across.

    Wrong is a training image without its labels.
    """
    images = sorted((path, stem) for stem, path in volumes_under(root) if NAME.fullmatch(stem))
    training = [(path, stem) for path, stem in images if stem.startswith(_TRAINING)]
    if unlabelled and len(training) < len(images):
        _log.info("%s: the volumes of mr_test have no labels, so no long axis, and are left out", root)
    yield from each_patient(partial(_patient_entries, dataset=dataset), training)


def recognises(root: Path) -> bool:
    """Whether an MR training volume lies there."""
    return any(NAME.fullmatch(stem) and stem.startswith(_TRAINING) for stem, _ in volumes_under(root))


def _patient_entries(image: tuple[Path, str], dataset: str) -> Iterator[Entry]:
    image_path, stem = image
    patient = stem.removesuffix("_image")
    mask_path = volume_path(image_path.parent, f"{patient}_label")
    if mask_path is None:
        raise UserError(f"{image_path}: there is no {patient}_label.nii.gz (or .nii) beside it; restore the original")
    yield Entry(
        image_path=image_path,
        mask_path=mask_path,
        labels=LABELS,
        frame=None,
        patient=f"{dataset}-{patient}",
        dataset=dataset,
        vendor=UNKNOWN,
        centre=UNKNOWN,
        long_axis=LONG_AXIS,
    )
