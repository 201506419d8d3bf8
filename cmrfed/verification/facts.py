"""One stack, read and reduced to numbers: everything that verification judges, and no voxel."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from nibabel.orientations import aff2axcodes

from cmrfed.conditions import UNLABELLED
from cmrfed.config import not_readable
from cmrfed.shapes import STRUCTURES, Label, Volume, VolumeMask
from cmrfed.verification.ventricles import enclosed
from cmrfed.volumes import AS_STORED, MAX_BYTES, Case, Entry, Orientation, load_case
from cmrfed.volumes.nifti import SUFFIXES, open_image, open_nifti, spacing_conflict
from cmrfed.volumes.orientation import LEFT, POSTERIOR_INFERIOR

_CHUNK_BYTES = 1 << 20
_SAME_PLACE_MM = 1.0  # tools round affines


@dataclass(frozen=True)
class StackFacts:
    """What is known of one stack at one phase once its voxels are forgotten.

    shape and spacing_mm: (slice, row, column). stored_as: the directions of the stored axes, such as "LPS", or "not
        told" where the file does not know them. turned: how rows and columns were made from the stored axes.
    intensity: minimum, 1st percentile, 99th percentile, maximum.
    voxels: of each structure. unlabelled: the part of voxels that nobody has labelled, 0 to 1.
    heart_slices: indices of slices with any structure, counted from 0. blank_slices: those whose image is constant.
    at_border: structures that touch the first or last row or column.
    enclosed: of each ventricle's in-plane edge, the part that lies on myocardium, 0 to 1; None where one is absent.
    rv_to_the_right_mm: from the middle of the LV to that of the RV, along columns, negative towards the left of the
        image; None where one of them is absent.
    spacing_conflict: what pixdim and the affine of the image say where they differ; None where they agree.
    mask_offset_mm: how far the mask's corners lie from the image's, by their affines; None where a file has none.
    has_motion: whether the heart can be found without a mask.
    image_hash, mask_hash: SHA-256 of the loaded arrays; the mask's is None where it shows no structure.
    """

    patient: str
    dataset: str
    vendor: str
    centre: str
    phase: str
    pathology: str
    visit: str
    image_path: Path
    mask_path: Path | None
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    stored_as: str
    turned: str
    intensity: tuple[float, float, float, float]
    voxels: dict[Label, int]
    unlabelled: float
    heart_slices: tuple[int, ...]
    blank_slices: tuple[int, ...]
    at_border: tuple[Label, ...]
    enclosed: dict[Label, float | None]
    rv_to_the_right_mm: float | None
    mask_offset_mm: float | None
    spacing_conflict: str | None
    has_motion: bool
    image_hash: str
    mask_hash: str | None

    @property
    def mask_is_elsewhere(self) -> bool:
        return self.mask_offset_mm is not None and self.mask_offset_mm > _SAME_PLACE_MM

    def volume_ml(self, structure: Label) -> float | None:
        """None where the structure is not in the mask."""
        return self.voxels[structure] * float(np.prod(self.spacing_mm)) / 1000 if self.voxels[structure] else None


class Header(NamedTuple):
    """What the headers of an image and its mask tell, whatever the frame; fields as in `StackFacts`."""

    stored_as: str
    turned: str
    mask_offset_mm: float | None
    spacing_conflict: str | None


def read_facts(entry: Entry, header: Header) -> StackFacts:
    """Read one entry and keep its facts alone. Raises UserError naming the file that cannot be used."""
    case = load_case(entry)
    mask = case.mask
    voxels = np.bincount(mask.ravel(), minlength=UNLABELLED + 1)
    heart = np.flatnonzero(((mask >= min(STRUCTURES)) & (mask <= max(STRUCTURES))).any(axis=(1, 2))).tolist()
    return StackFacts(
        patient=case.patient,
        dataset=case.dataset,
        vendor=case.vendor,
        centre=case.centre,
        phase=case.phase,
        pathology=case.pathology,
        visit=case.visit,
        image_path=entry.image_path,
        mask_path=entry.mask_path,
        shape=case.image.shape,
        spacing_mm=case.spacing_mm,
        **header._asdict(),
        intensity=_intensity(case.image),
        voxels={structure: int(voxels[structure]) for structure in STRUCTURES},
        unlabelled=float(voxels[UNLABELLED] / mask.size),
        heart_slices=tuple(heart),
        blank_slices=tuple(index for index, plane in enumerate(case.image) if plane.min() == plane.max()),
        at_border=_at_border(mask),
        enclosed=enclosed(mask),
        rv_to_the_right_mm=_rv_to_the_right_mm(case),
        has_motion=case.motion is not None,
        image_hash=case.voxels,
        mask_hash=_hash(mask) if heart else None,
    )


def read_header(image: Path, mask: Path | None, whole_heart: bool = False) -> Header:
    """Check that the files are whole, and read their headers. Raises UserError naming the file that is not."""
    for path in (image, mask):
        _check_whole(path)
    if whole_heart:
        return Header("whole heart", "cut across the long axis", None, spacing_conflict(open_image(image)))
    if not _is_nifti(image):
        return Header("DICOM or raw data", "by its headers", None, None)
    opened, orientation = open_image(image), open_nifti(image).orientation
    axes = opened.affine[:3]
    told = orientation != AS_STORED or (LEFT @ axes[:, 0] > 0 and POSTERIOR_INFERIOR @ axes[:, 1] > 0)
    stored_as = "".join(map(str, aff2axcodes(opened.affine))) if told else "not told"
    offset_mm = _offset_mm(opened.affine, open_image(mask).affine, opened.shape) if mask and _is_nifti(mask) else None
    return Header(stored_as, _in_words(orientation), offset_mm, spacing_conflict(opened))


def _check_whole(path: Path | None) -> None:
    """Unpack a .gz to its end, which reading a frame does not, so that the checksum there is compared."""
    if path is None or path.suffix != ".gz":
        return
    try:
        if not path.is_file():
            return
        with gzip.open(path) as file:
            while file.read(_CHUNK_BYTES) and file.tell() <= MAX_BYTES:
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise not_readable(path, error, f"{path}: is damaged or cut short ({error}); copy it again") from None


def _in_words(orientation: Orientation) -> str:
    words = ("axes swapped", "rows flipped", "columns flipped")
    return ", ".join(word for word, done in zip(words, orientation, strict=True) if done) or "as stored"


def _is_nifti(path: Path) -> bool:
    return path.name.endswith(SUFFIXES) and not path.is_dir()


def _offset_mm(image: Float[np.ndarray, "4 4"], mask: Float[np.ndarray, "4 4"], shape: tuple[int, ...]) -> float:
    """The largest distance between a corner of the image's grid and the same corner of the mask's."""
    corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in shape[:3]))])
    return float(np.linalg.norm(corners @ (image - mask).T, axis=1).max())


def _intensity(image: Volume) -> tuple[float, float, float, float]:
    """The percentiles from every other row and column, which is quicker and as good."""
    low, high = np.percentile(image[:, ::2, ::2], [1, 99])
    return float(image.min()), float(low), float(high), float(image.max())


def _at_border(mask: VolumeMask) -> tuple[Label, ...]:
    found = {*np.unique(mask[:, [0, -1], :]).tolist(), *np.unique(mask[:, :, [0, -1]]).tolist()}
    return tuple(structure for structure in STRUCTURES if structure in found)


def _rv_to_the_right_mm(case: Case) -> float | None:
    columns = np.arange(case.mask.shape[2])
    lv, rv = ((case.mask == ventricle).sum(axis=(0, 1)) for ventricle in (Label.LV, Label.RV))
    if not (lv.any() and rv.any()):
        return None
    return float(np.average(columns, weights=rv) - np.average(columns, weights=lv)) * case.spacing_mm[2]


def _hash(array: Shaped[np.ndarray, "slice row column"]) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).data).hexdigest()
