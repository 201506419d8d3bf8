"""MS-CMRSeg 2019: 45 patients of one hospital; of its three sequences only the balanced SSFP (C0) is a cine frame.

Zhuang, "Multivariate mixture model for myocardial segmentation combining multi-source images", IEEE Transactions on
Pattern Analysis and Machine Intelligence 41(12), 2019. No true file was at hand; the names are those of the challenge's
page and of public loaders of it.

    **/patient1_C0.nii.gz            (x, y, slice); _LGE and _T2 of the same patient are not read
    **/patient1_C0_manual.nii.gz     0 background, 200 myocardium, 500 LV, 600 RV; patients 1 to 35 have one

The frame of the cine was chosen to match the other sequences, so the phase is not known. No file says the vendor.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient
from cmrfed.shapes import Label
from cmrfed.volumes import Entry
from cmrfed.volumes.trees import volumes_under

LABELS = {0: Label.BACKGROUND, 200: Label.MYO, 500: Label.LV, 600: Label.RV}
NAME = re.compile(r"patient(\d{1,3})_C0(_manual)?")

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """The case of every patient with a mask anywhere under `root`; of the others too if `unlabelled`.

    Wrong is a mask without an image, and an image or mask that is there twice.
    """
    files: dict[str, dict[bool, list[Path]]] = {}
    for stem, path in volumes_under(root):
        if match := NAME.fullmatch(stem):
            files.setdefault(match[1].zfill(2), {False: [], True: []})[bool(match[2])].append(path)
    chosen = {code: found for code, found in files.items() if unlabelled or found[True]}
    if len(chosen) < len(files):
        _log.info("%s: %d patients without labels are left out", root, len(files) - len(chosen))
    yield from each_patient(partial(_patient_entries, dataset=dataset), sorted(chosen.items()))


def recognises(root: Path) -> bool:
    """Whether a balanced SSFP volume of that name lies there."""
    return any(NAME.fullmatch(stem) for stem, _ in volumes_under(root))


def _patient_entries(patient: tuple[str, Mapping[bool, list[Path]]], dataset: str) -> Iterator[Entry]:
    code, found = patient
    images, masks = found[False], found[True]
    if len(images) != 1 or len(masks) > 1:
        where = (images or masks)[0]
        raise UserError(f"{where}: patient {code} has {len(images)} images and {len(masks)} masks; keep one of each")
    yield Entry(
        image_path=images[0],
        mask_path=masks[0] if masks else None,
        labels=LABELS,
        frame=None,
        patient=f"{dataset}-patient{code}",
        dataset=dataset,
        vendor=UNKNOWN,
        centre=UNKNOWN,
    )
