"""A raw data set of nnU-Net, version 2 (Isensee et al., Nature Methods 2021): imagesTr/CASE_0000.nii.gz,
labelsTr/CASE.nii.gz and dataset.json.

nnU-Net finds data sets by their folders' names, Dataset501_Hearts. Its labels follow one another without a gap, so that
what nobody has labelled, 255 elsewhere, is its "ignore" label here, one above the others, where there is any. It shares
cases out into folds one by one: splits_final.json keeps all of one heart, both phases and all vendors, in one fold.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmrfed.conditions import UNLABELLED
from cmrfed.config import UserError
from cmrfed.core import atomic
from cmrfed.layouts.contract import Asked, Files, Layout, Provenance, Synthetic, Written, safe, write_json
from cmrfed.shapes import Label

IGNORE = len(Label)
FOLDS = 5
"""As many as nnU-Net trains by default."""
_FOLDER = re.compile(r"Dataset\d{3}_\w+")


class NnUnet(Layout):
    """A case is a stack: its mask's place with underscores for slashes, after the vendor and the phase where several
    are drawn."""

    def files(self, out: Path, asked: Asked) -> Files:
        case = safe("_".join([*asked.folders, *asked.name.split("/")]))
        return Files(out / "imagesTr" / f"{case}_0000.nii.gz", out / "labelsTr" / f"{case}.nii.gz")

    def refuse(self, out: Path, files: Sequence[Files]) -> None:
        if not _FOLDER.fullmatch(out.name):
            raise UserError(f"out: nnU-Net knows data sets by names as Dataset501_Hearts, found {out.name}; name it so")
        super().refuse(out, files)

    def write(self, files: Files, pair: Synthetic, asked: Asked, made_by: Provenance) -> None:
        pair.save(files.image, pair.image, made_by.notes())
        numbered = np.where(pair.mask == UNLABELLED, IGNORE, pair.mask).astype(np.uint8)
        pair.save(files.mask, numbered, made_by.notes(of_mask=True))

    def describe(self, out: Path, written: Sequence[Written], made_by: Provenance) -> None:
        folds = _folds(written)
        if folds:
            write_json(out / "splits_final.json", folds)
        copied = _SPLITS.format(dataset=out.name) if folds else ""
        number = int(out.name[len("Dataset") :][:3])
        told = {"cases": len(written), "number": number, "splits": copied, "made_by": made_by.sentence}
        atomic.write_text(out / "README.md", _README.format(**told))
        write_json(out / "dataset.json", _dataset(written, made_by))  # last: without it nnU-Net takes none of the rest


def _dataset(written: Sequence[Written], made_by: Provenance) -> dict[str, object]:
    labels = {label.name if label else "background": label.value for label in Label}
    if any(UNLABELLED in one.labels for one in written):
        labels["ignore"] = IGNORE
    return {
        "channel_names": {"0": "cine MRI"},
        "labels": labels,
        "numTraining": len(written),
        "file_ending": ".nii.gz",
        "description": made_by.sentence,
        "provenance": made_by.facts,
    }


def _folds(written: Sequence[Written]) -> list[dict[str, list[str]]]:
    """nnU-Net's list of folds, each heart's cases in one of them for validation; [] where there are too few hearts."""
    hearts = sorted({one.asked.heart for one in written})
    if len(hearts) < FOLDS:
        return []
    fold_of = {heart: number % FOLDS for number, heart in enumerate(hearts)}
    cases = {one.files.mask.name.removesuffix(".nii.gz"): fold_of[one.asked.heart] for one in written}
    return [
        {
            "train": sorted(case for case, own in cases.items() if own != fold),
            "val": sorted(case for case, own in cases.items() if own == fold),
        }
        for fold in range(FOLDS)
    ]


_SPLITS = """
Cases of one heart (its phases, its looks by vendor) are not independent: copy `splits_final.json` to
`$nnUNet_preprocessed/{dataset}/` after planning and before training, or nnU-Net validates on hearts that it trained on.
"""
_README = """# {cases} synthetic cases for nnU-Net

{made_by}

`imagesTr/CASE_0000.nii.gz` is an image from 0 to 1, `labelsTr/CASE.nii.gz` its mask; `dataset.json` names the labels.

    nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity
    nnUNetv2_train {number} 2d 0
{splits}"""
