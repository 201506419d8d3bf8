"""Phantom patients on disk, laid out like M&Ms, so that its reader reads them."""

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from cmrfed.config import PhantomConfig, UserError
from cmrfed.core import atomic
from cmrfed.core.progress import Progress
from cmrfed.parallel import map_in_order
from cmrfed.phantom.scan import PHASES, Person, Scan, scan_patient

VERSION = 4
"""Raised whenever the same configuration would give different images."""

_RECEIPT = "phantom.json"
_CSV = "phantom_M&Ms_Dataset_information_diagnosis_opendataset.csv"
_OURS = re.compile(rf"{re.escape(_RECEIPT)}|{re.escape(_CSV)}|(?:[A-Z][0-9]){{3}}_sa(?:_gt)?\.nii\.gz")
"""Names of all that a phantom consists of: where another one is to replace it, nothing else may be lost."""
_COLUMNS = (
    "External code",
    "VendorName",
    "Vendor",
    "Centre",
    "ED",
    "ES",
    "Age",
    "Pathology",
    "Sex",
    "Height",
    "Weight",
)
_LETTERS = {"Siemens": "A", "Philips": "B", "GE": "C", "Canon": "D"}


@dataclass(frozen=True)
class _Order:
    """One patient to make."""

    code: str
    seed: int
    vendor: str
    index: int
    folder: Path


def write_phantom(root: Path, config: PhantomConfig, progress: Progress | None = None) -> None:
    """Write the phantom data set to `root` in M&Ms' layout, or keep what is there if the same configuration made it.

    `root/OpenDataset/Training/Labeled/CODE/CODE_sa.nii.gz` and `_sa_gt.nii.gz` hold 4-D volumes (x, y, z, t) with
    end diastole at t = 0 and end systole at t = 1; the information CSV is as Excel writes it. The data appears all at
    once, by a rename, and does not depend on the number of processors.

    Raises UserError when `root` holds something else.
    """
    receipt = {"version": VERSION, **config.model_dump(mode="json")}
    if _is_reusable(root, receipt):
        return
    with atomic.new_folder(root) as draft:
        _write_patients(draft / "OpenDataset", config, progress)
        atomic.write_text(draft / _RECEIPT, json.dumps(receipt, indent=2) + "\n")
        if root.is_dir():
            shutil.rmtree(root)


def _is_reusable(root: Path, receipt: dict[str, object]) -> bool:
    """True when `root` holds this very data; raises UserError when it holds anything that is not a phantom."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / _RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{root}: is not empty and holds no phantom data; give another folder or empty it") from None
    if found == json.loads(json.dumps(receipt)):
        return True
    if others := [path for path in root.rglob("*") if not path.is_dir() and not _OURS.fullmatch(path.name)]:
        raise UserError(f"{root}: holds another phantom and {others[0].name}, which is not of it; give another folder")
    return False


def _write_patients(folder: Path, config: PhantomConfig, progress: Progress | None) -> None:
    orders = list(_orders(folder / "Training" / "Labeled", config))
    folder.mkdir(parents=True)
    rows = []
    for order, person in zip(orders, map_in_order(_write_patient, orders), strict=True):
        rows.append(_row(order, config, person))
        if progress is not None:
            progress(len(rows), len(orders))
    # Excel's byte-order mark and the unnamed index column are part of the layout
    with (folder / _CSV).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *_COLUMNS])
        writer.writerows([[number, *row] for number, row in enumerate(rows)])


def _orders(folder: Path, config: PhantomConfig) -> Iterator[_Order]:
    taken: set[str] = set()
    for vendor in config.vendors:
        for index in range(config.patients_per_vendor):
            code = _code(f"{config.seed}/{vendor}/{index}", taken)
            taken.add(code)
            yield _Order(code, config.seed, vendor, index, folder / code)


def _code(name: str, taken: set[str]) -> str:
    """A code like M&Ms' own, letter and digit in turn three times, from a hash; hashed again while it is taken."""
    digest = hashlib.sha256(name.encode()).digest()
    code = "".join(chr(ord("A") + digest[2 * k] % 26) + str(digest[2 * k + 1] % 10) for k in range(3))
    return _code(name + "'", taken) if code in taken else code


def _write_patient(order: _Order) -> Person:
    scan = scan_patient(order.seed, order.vendor, order.index)
    order.folder.mkdir(parents=True)
    _save(scan, np.int16, scan.images, order.folder / f"{order.code}_sa.nii.gz")
    _save(scan, np.uint8, scan.masks, order.folder / f"{order.code}_sa_gt.nii.gz")
    return scan.person


def _save(scan: Scan, dtype: type, volumes: dict, path: Path) -> None:
    """(slice, row, column) by phase to (x, y, z, t): columns run to the patient's left, rows to the back."""
    array: np.ndarray = np.stack([volumes[phase] for phase in PHASES], axis=-1).transpose(2, 1, 0, 3).astype(dtype)
    dz, dy, dx = scan.spacing_mm
    image = nib.Nifti1Image(array, np.diag([-dx, -dy, dz, 1.0]))
    image.header.set_zooms((dx, dy, dz, 1.0))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def _row(order: _Order, config: PhantomConfig, person: Person) -> list[object]:
    centre = 1 + config.vendors.index(order.vendor)
    who = [person.age, person.pathology, person.sex, person.height_cm, person.weight_kg]
    return [order.code, order.vendor, _LETTERS[order.vendor], centre, 0, 1, *who]
