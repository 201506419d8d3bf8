"""Image and mask pairs that a generator wrote, ours or anybody's.

    NAME.nii.gz        an image, (x, y, slice), any intensities
    NAME_gt.nii.gz     its mask on the same grid: 0 background, 1 LV, 2 myocardium, 3 RV, 255 unlabelled

`cmrfed generate` writes this layout. Subfolders are looked through too, and one that is named like a vendor
("Philips/0001.nii.gz") says that its images are of that vendor. A pair is a patient of its own: a generator has none.
PNG and arrays are not read: they do not say how large a pixel is.
"""

from collections.abc import Iterator
from pathlib import Path

from cmrfed.conditions import UNKNOWN, UNLABELLED, VENDORS
from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient
from cmrfed.shapes import Label
from cmrfed.volumes import Entry
from cmrfed.volumes.trees import files_under, volumes_in, volumes_under

_MASK = "_gt"
_OTHER = (".png", ".jpg", ".npy", ".npz", ".tif", ".tiff", ".mha")
LABELS = {**{label.value: label for label in Label}, UNLABELLED: UNLABELLED}


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """A case of unknown phase for every pair under `root`; wrong is an image without a mask, and a mask without one.

    Raises UserError when there are only images of a kind that is not read.
    """
    files = {path.with_name(stem).relative_to(root).as_posix(): path for stem, path in volumes_under(root)}
    if not files and (other := next((path for path in files_under(root) if path.suffix in _OTHER), None)):
        raise UserError(f"{other}: {other.suffix} does not say how large a pixel is; convert images and masks to NIfTI")
    stems = sorted({stem.removesuffix(_MASK) for stem in files})
    yield from each_patient(lambda stem: [_entry(stem, files, root, dataset)], stems)


def recognises(root: Path) -> bool:
    """Whether a mask stands beside an image of the same name, in the folder itself or in a vendor's."""
    folders = [root, *(root / vendor for vendor in VENDORS)]
    return any(map(_holds_a_pair, filter(Path.is_dir, folders)))


def _holds_a_pair(folder: Path) -> bool:
    stems = {stem for stem, _ in volumes_in(folder)}
    return any(f"{stem}{_MASK}" in stems for stem in stems)


def _entry(stem: str, files: dict[str, Path], root: Path, dataset: str) -> Entry:
    for name, kind in ((stem, "image"), (stem + _MASK, "mask")):
        if name not in files:
            found = files.get(stem) or files[stem + _MASK]
            raise UserError(f"{found}: its {kind} {name}.nii.gz is missing; give every image a mask of its own")
    folders = [part for part in stem.split("/")[:-1] if part in VENDORS]
    return Entry(
        image_path=files[stem],
        mask_path=files[stem + _MASK],
        labels=LABELS,
        frame=None,
        patient=f"{dataset}-{stem}",
        dataset=dataset,
        vendor=folders[-1] if folders else UNKNOWN,
    )
