"""Writers of tiny data sets in the original layouts, quirks included."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from toy_hearts import SPACING_MM, toy_image, toy_mask

ACDC_NUMBER = np.array([0, 3, 2, 1], np.uint8)
"""Canonical label -> ACDC's number."""


def save_scaled(path: Path, stored: np.ndarray) -> None:
    """Write uint8 with a slope of 0.5 in the header, the way the public copies are packed."""
    image = nib.Nifti1Image((2 * stored.clip(0, 127.5)).astype(np.uint8), None)
    image.header.set_zooms((*SPACING_MM[::-1], *([1.0] if stored.ndim == 4 else [])))
    content = bytearray(image.to_bytes())
    content[112:116] = np.float32(0.5).tobytes()  # scl_slope, which nibabel would recompute
    path.write_bytes(gzip.compress(content))


def save_labels(path: Path, stored: np.ndarray, kind: type = np.uint8) -> None:
    image = nib.Nifti1Image(stored.astype(kind), None)
    image.header.set_zooms((*SPACING_MM[::-1], *([1.0] if stored.ndim == 4 else [])))
    nib.save(image, path)


def write_acdc_patient(folder: Path, group: str = "DCM", frames: tuple[int, int] = (1, 12)) -> None:
    """One patient's Info.cfg and the 3-D image and mask at either 1-based frame."""
    folder.mkdir(parents=True)
    ed, es = frames
    (folder / "Info.cfg").write_text(f"ED: {ed}\nES: {es}\nGroup: {group}\nHeight: 165.0\nNbFrame: 30\nWeight: 77.0\n")
    for frame, scale in ((ed, 1.0), (es, 0.7)):
        mask = toy_mask(scale=scale)
        stem = folder / f"{folder.name}_frame{frame:02d}"
        save_scaled(stem.with_name(f"{stem.name}.nii.gz"), toy_image(mask, seed=frame).T)
        save_labels(stem.with_name(f"{stem.name}_gt.nii.gz"), ACDC_NUMBER[mask].T)


def write_mnms_table(folder: Path, rows: Sequence[str]) -> Path:
    """The information table as Excel writes it: a byte-order mark, CRLF, the first column unnamed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"
    header = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight"
    lines = [header, *(f"{number},{row}" for number, row in enumerate(rows))]
    path.write_bytes("\r\n".join([*lines, ""]).encode("utf-8-sig"))
    return path


def write_mnms_patient(folder: Path, ed: int = 0, es: int = 1, masks: bool = True) -> None:
    """A patient's 4-D image and mask; frames that are neither ED nor ES have an empty mask."""
    folder.mkdir(parents=True)
    shown = [toy_mask(scale=0.7 if frame == es else 1.0) for frame in range(max(ed, es) + 1)]
    image = np.stack([toy_image(mask, seed) for seed, mask in enumerate(shown)])
    labels = np.stack([mask * (frame in (ed, es)) for frame, mask in enumerate(shown)])
    save_scaled(folder / f"{folder.name}_sa.nii.gz", image.T)
    if masks:
        save_labels(folder / f"{folder.name}_sa_gt.nii.gz", labels.T)
