"""Writers of tiny data sets in the original layouts, quirks included: those beside ACDC and M&Ms."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from image_files import toy_cine, write_dicom_series, write_kspace
from layouts import save_labels, save_scaled
from skimage.measure import find_contours
from toy_hearts import toy_image, toy_mask

from cmrfed.shapes import Label

MSCMRSEG_NUMBER = np.array([0, 500, 200, 600], np.uint16)
"""Canonical label -> MS-CMRSeg's number."""


def write_mnms2(root: Path, codes: Sequence[int], vendors: Sequence[str], masks: bool = True) -> None:
    """The table with rows of commas at its end, and a folder a patient with long-axis and cine files beside."""
    rows = [f"{code},HCM,{vendor},Symphony,1.5" for code, vendor in zip(codes, vendors, strict=True)]
    lines = ["SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD", *rows, ",,,,", ",,,,", ""]
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_information.csv").write_bytes("\r\n".join(lines).encode())
    for code in codes:
        folder = root / "dataset" / f"{code:03d}"
        folder.mkdir(parents=True)
        for phase, scale in (("ED", 1.0), ("ES", 0.7)):
            mask = toy_mask(scale=scale)
            save_scaled(folder / f"{folder.name}_SA_{phase}.nii.gz", toy_image(mask, code).T)
            if masks:
                save_labels(folder / f"{folder.name}_SA_{phase}_gt.nii.gz", mask.T)
            (folder / f"{folder.name}_LA_{phase}.nii.gz").write_bytes(b"not read")
        (folder / f"{folder.name}_SA_CINE.nii.gz").write_bytes(b"not read")


def write_ukbiobank_subject(folder: Path, masks: Sequence[str] = ("ED", "ES"), cine: bool = True) -> None:
    """A subject as the toolbox converts it, with files of its other pipelines beside."""
    folder.mkdir(parents=True)
    images, labels = toy_cine()
    frames = {"ED": 0, "ES": 2}
    for phase, frame in frames.items():
        save_scaled(folder / f"sa_{phase}.nii.gz", images[frame].T)
        if phase in masks:
            save_labels(folder / f"label_sa_{phase}.nii.gz", labels[frame].T)
    if cine:
        save_scaled(folder / "sa.nii.gz", images.T)
    for name in ("la_4ch.nii.gz", "seg_sa_ED.nii.gz"):
        (folder / name).write_bytes(b"not read")


def write_mscmrseg_patient(root: Path, number: int, mask: bool = True) -> None:
    """The balanced SSFP volume and its labels, in the folders of the challenge, beside another sequence."""
    for folder in ("c0t2lge", "c0gt"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    labels = toy_mask()
    save_scaled(root / "c0t2lge" / f"patient{number}_C0.nii.gz", toy_image(labels, number).T)
    (root / "c0t2lge" / f"patient{number}_LGE.nii.gz").write_bytes(b"not read")
    if mask:
        path = root / "c0gt" / f"patient{number}_C0_manual.nii.gz"
        save_labels(path, MSCMRSEG_NUMBER[labels].T, np.uint16)


def whole_heart(axis: np.ndarray, size: int = 96, voxel_mm: float = 2.0) -> np.ndarray:
    """MM-WHS numbers (right, anterior, superior) of ellipsoid ventricles along `axis`, which runs to the apex."""
    grid = (np.stack(np.mgrid[:size, :size, :size], axis=-1) - (size - 1) / 2) * voxel_mm
    along = grid @ axis
    right = np.array([1.0, 0.0, 0.0]) - axis[0] * axis
    right /= np.linalg.norm(right)
    numbers = np.zeros((size,) * 3, np.uint16)
    numbers[_ellipsoid(grid - 45 * right + 5 * axis, axis, 35, 20)] = 600
    numbers[np.linalg.norm(grid + 70 * axis, axis=-1) < 22] = 420
    numbers[np.linalg.norm(grid + 70 * axis - 60 * right, axis=-1) < 18] = 550
    numbers[_ellipsoid(grid, axis, 50, 32) & (along > -38)] = 205
    numbers[_ellipsoid(grid, axis, 40, 22) & (along > -38)] = 500
    numbers[:2, :2, :2] = 421
    numbers[-3:, -3:, -3:] = 820
    return numbers


def _ellipsoid(points: np.ndarray, axis: np.ndarray, long_mm: float, short_mm: float) -> np.ndarray:
    along = points @ axis
    across = np.linalg.norm(points - along[..., None] * axis, axis=-1)
    return (along / long_mm) ** 2 + (across / short_mm) ** 2 < 1


def write_mmwhs_patient(
    root: Path,
    number: int,
    axis: np.ndarray,
    stored: Sequence[int] = (1, 2, 0),
    size: int = 96,
    voxel_mm: float = 2.0,
) -> None:
    """A whole heart stored with its axes in another order, as sagittal scans are."""
    numbers = whole_heart(axis, size, voxel_mm)
    brightness = np.zeros(1000, np.float32)
    brightness[[205, 420, 421, 500, 550, 600, 820]] = [90, 210, 210, 220, 190, 200, 215]
    affine = np.eye(4)
    affine[:3, :3] = voxel_mm * np.eye(3)[:, list(stored)]
    affine[:3, 3] = -(size - 1) / 2 * voxel_mm
    root.mkdir(parents=True, exist_ok=True)
    for kind, array in (("label", numbers), ("image", (brightness[numbers] + 40).astype(np.int16))):
        image = nib.Nifti1Image(array.transpose(stored), affine)
        nib.save(image, root / f"mr_train_{number}_{kind}.nii.gz")


def write_sunnybrook(root: Path, originals: Sequence[str], padded: bool = True, slices: int = 3) -> None:
    """The table, a DICOM series a patient, and contours named by the original ID, padded with a zero or not."""
    root.mkdir(parents=True, exist_ok=True)
    names = [f"SCD{number:05d}01" for number in range(1, len(originals) + 1)]
    rows = [f"{name},{original},Male,53,Hypertrophy" for name, original in zip(names, originals, strict=True)]
    (root / "scd_patientdata.csv").write_text("\n".join(["PatientID,OriginalID,Gender,Age,Pathology", *rows, ""]))
    images, masks = toy_cine(slices=slices)
    for name, original in zip(names, originals, strict=True):
        series = root / "SCD_IMAGES_01" / name / "CINESAX_300"
        write_dicom_series(series, images, t00080070="GE MEDICAL SYSTEMS")
        (series / ".DS_Store").write_bytes(b"\0")
        head, _, number = original.rpartition("-")
        folder = root / "SCD_ManualContours" / (f"{head}-{int(number):02d}" if padded else original)
        write_contours(folder / "contours-manual" / "IRCCI-expert", masks, frames=(0, 2))


def write_contours(folder: Path, masks: np.ndarray, frames: Sequence[int], outer_frames: Sequence[int] = (0,)) -> None:
    """The LV (and at `outer_frames` the muscle's rim) of masks (frame, slice, row, column) as contour texts."""
    folder.mkdir(parents=True)
    for frame in frames:
        for at in range(masks.shape[1]):
            stem = folder / f"IM-0001-{at * len(masks) + frame + 1:04d}"
            blood = masks[frame, at] == Label.LV
            _write_contour(stem.with_name(f"{stem.name}-icontour-manual.txt"), blood)
            if frame in outer_frames:
                muscle = blood | (masks[frame, at] == Label.MYO)
                _write_contour(stem.with_name(f"{stem.name}-ocontour-manual.txt"), muscle)
    (folder / "IM-0001-0001-p1contour-manual.txt").write_text("1 1\n2 2\n")


def _write_contour(path: Path, inside: np.ndarray) -> None:
    (outline, *_) = find_contours(inside.astype(float), 0.5)
    path.write_text("".join(f"{column:.2f} {row:.2f} \n" for row, column in outline), encoding="utf-8")


def write_ocmr(root: Path, stacks: Sequence[str], slices: int = 3) -> None:
    """The table with its nameless column and rows of commas, and a raw-data file a stack."""
    rows = [f"{name},30pris,fs,sym,shr,sax,stk,noa,vol,,3" for name in stacks]
    rows += ["fs_0099_3T.h5,30pris,fs,sym,shr,lax,ind,noa,vol,,1", ",,,,,,,,,,", ",,,,,,,,,,"]
    rows += ["us_0001_3T.h5,30pris,pse,asy,shr,sax,stk,noa,vol,,3"]
    root.mkdir(parents=True, exist_ok=True)
    (root / "ocmr_data_attributes.csv").write_text(
        "\n".join(["file name,scn,smp,ech,dur,viw,sli,fov,sub,,slices", *rows, ""])
    )
    images, _ = toy_cine(slices=slices)
    for name in stacks:
        write_kspace(root / "data" / name, images)
    for name in ("fs_0099_3T.h5", "us_0001_3T.h5"):
        (root / "data" / name).write_bytes(b"not read")


def write_folder(
    root: Path, rows: Sequence[str], columns: str = "patient,image,mask,phase,vendor", slices: int = 3
) -> None:
    """A hospital's own folder: the table as a spreadsheet saves it, one cine as NIfTI with masks, one as DICOM."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "cases.csv").write_bytes("\r\n".join([columns, *rows, ""]).encode("utf-8-sig"))
    images, masks = toy_cine(slices=slices)
    save_scaled(root / "images" / "cine.nii.gz", images.T)
    save_labels(root / "masks" / "cine.nii.gz", masks.T)
    save_scaled(root / "images" / "ed.nii.gz", images[0].T)
    save_labels(root / "masks" / "ed.nii.gz", masks[0].T)
    write_dicom_series(root / "images" / "series", images)
