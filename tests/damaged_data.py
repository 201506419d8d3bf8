"""A tiny phantom data set and ways to damage the copy of one patient, as real data sets are found damaged."""

import csv
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np


def patients_of(root: Path) -> list[Path]:
    """Folders of the patients, in order."""
    return sorted((root / "OpenDataset" / "Training" / "Labeled").iterdir())


def image_of(patient: Path) -> Path:
    return patient / f"{patient.name}_sa.nii.gz"


def mask_of(patient: Path) -> Path:
    return patient / f"{patient.name}_sa_gt.nii.gz"


def table_of(root: Path) -> Path:
    return next((root / "OpenDataset").glob("*.csv"))


def change(
    path: Path,
    voxels: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    zooms: tuple[float, float, float] | None = None,
    move_mm: float = 0,
) -> None:
    """Write the file again with other voxels (x, y, slice, frame), spacing in mm (x, y, slice), or place."""
    image = nib.load(path)
    affine = image.affine.copy()
    if zooms:
        affine[:3, :3] = affine[:3, :3] / image.header.get_zooms()[:3] * zooms
    affine[0, 3] += move_mm
    nib.save(nib.Nifti1Image(voxels(np.asarray(image.dataobj)), affine), path)


def change_both(patient: Path, **how: object) -> None:
    change(image_of(patient), **how)
    change(mask_of(patient), **how)


def edit_table(root: Path, edit: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    with table_of(root).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with table_of(root).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(edit(rows))


def swap_labels(patient: Path) -> None:
    change(mask_of(patient), lambda mask: np.array([0, 3, 2, 1], np.uint8)[mask])


def swap_frames(patient: Path) -> None:
    change_both(patient, voxels=lambda frames: frames[..., ::-1])


def grow_rv(patient: Path) -> None:
    def drop_half_of_ed(mask: np.ndarray) -> np.ndarray:
        ed = mask[..., 0]
        rows = np.arange(ed.shape[1])[None, :, None]
        ed[(ed == 3) & (rows > np.median(np.nonzero(ed == 3)[1]) - 8)] = 0
        return mask

    change(mask_of(patient), drop_half_of_ed)


def repeat_frame(patient: Path) -> None:
    change(image_of(patient), lambda frames: frames[..., [0, 0]])


def mirror(patient: Path) -> None:
    change_both(patient, voxels=lambda frames: frames[::-1])


def lose_spacing(patient: Path) -> None:
    change_both(patient, zooms=(1, 1, 1))


def contradict_spacing(patient: Path) -> None:
    """pixdim alone says pixels of 3 mm."""
    content = bytearray(gzip.decompress(image_of(patient).read_bytes()))
    content[80:88] = np.array([3, 3], "<f4").tobytes()
    image_of(patient).write_bytes(gzip.compress(content))


def shrink(patient: Path) -> None:
    change_both(patient, zooms=(0.3, 0.3, 8))


def squeeze(patient: Path) -> None:
    change_both(patient, zooms=(1.3, 1.3, 1.2))


def keep_few_slices(patient: Path) -> None:
    change_both(patient, voxels=lambda frames: frames[:, :, 3:7])


def leave_gap(patient: Path) -> None:
    def without_middle(mask: np.ndarray) -> np.ndarray:
        mask[:, :, mask.shape[2] // 2] = 0
        return mask

    change(mask_of(patient), without_middle)


def crop_through_heart(patient: Path) -> None:
    def cropped(frames: np.ndarray) -> np.ndarray:
        return frames[:, frames.shape[1] // 2 :]

    change_both(patient, voxels=cropped)


def move_mask(patient: Path) -> None:
    change(mask_of(patient), move_mm=12)


def flatten(patient: Path) -> None:
    def nearly(frames: np.ndarray) -> np.ndarray:
        flat = np.full_like(frames, 100)
        flat[::20, ::21] = np.random.default_rng(0).integers(0, 4000, flat[::20, ::21].shape)
        return flat

    change(image_of(patient), nearly)


def blank_slice(patient: Path) -> None:
    def blanked(frames: np.ndarray) -> np.ndarray:
        frames[:, :, 0] = 0
        return frames

    change(image_of(patient), blanked)


def cut_short(patient: Path) -> None:
    image_of(patient).write_bytes(image_of(patient).read_bytes()[:-2000])


def flip_checksum(patient: Path) -> None:
    content = bytearray(image_of(patient).read_bytes())
    content[-8] ^= 1
    image_of(patient).write_bytes(content)


def pack_garbage(patient: Path) -> None:
    image_of(patient).write_bytes(gzip.compress(b"no image" * 100))


def crop_mask(patient: Path) -> None:
    change(mask_of(patient), lambda mask: mask[:-2])


def empty_mask(patient: Path) -> None:
    change(mask_of(patient), np.zeros_like)


def make_constant(patient: Path) -> None:
    change(image_of(patient), lambda frames: np.full_like(frames, 7))


def forget_row(patient: Path) -> None:
    edit_table(patient.parents[3], lambda rows: [row for row in rows if row["External code"] != patient.name])


def forget_vendor(patient: Path) -> None:
    edit_table(
        patient.parents[3],
        lambda rows: [row | {"VendorName": "unknown"} if row["External code"] == patient.name else row for row in rows],
    )


def add_under_another_name(patient: Path, name: str = "Z9Z9Z9") -> None:
    copy = patient.with_name(name)
    shutil.copytree(patient, copy)
    for path in list(copy.iterdir()):
        path.rename(copy / path.name.replace(patient.name, name))

    def with_copy(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return rows + [row | {"External code": name} for row in rows if row["External code"] == patient.name]

    edit_table(patient.parents[3], with_copy)


def add_visit(patient: Path, brighter: int = 1) -> Path:
    """The same patient again in Validation/, in a slightly other image; 0 for a copy."""
    visit = patient.parents[2] / "Validation" / patient.name
    shutil.copytree(patient, visit)
    change(image_of(visit), lambda frames: frames + np.array(brighter, frames.dtype))
    change(mask_of(visit), lambda mask: np.where(mask == 3, 0, mask).astype(np.uint8) if brighter else mask)
    return visit


def rename_patient(patient: Path, name: str) -> Path:
    """The same patient by another name, in the table too."""

    def renamed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [row | {"External code": name} if row["External code"] == patient.name else row for row in rows]

    edit_table(patient.parents[3], renamed)
    folder = patient.rename(patient.with_name(name))
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace(patient.name, name))
    return folder
