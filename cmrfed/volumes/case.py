"""Case, a patient's stack in memory, and Entry, where it is on disk.

In memory a stack is (slice, row, column) with columns running to the patient's left and rows to the patient's
posterior-inferior side.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cmrfed.conditions import UNKNOWN, UNLABELLED
from cmrfed.config import MOST_TISSUES, UserError
from cmrfed.shapes import FIRST_TISSUE, Label, Volume, VolumeMask
from cmrfed.volumes.limits import check_finite, check_spacing, listed
from cmrfed.volumes.orientation import Orientation

FIND: Literal["find"] = "find"
"""The frame of an entry whose phase is known but not when it is: it is found as the cine is read."""


@dataclass(frozen=True)
class Case:
    """One patient's short-axis stack at one cardiac phase.

    image: intensities (slice, row, column), float32, finite.
    mask: labels of `cmrfed.shapes.Label` (slice, row, column), uint8, same shape as the image; UNLABELLED where nobody
        has labelled: everywhere in a stack without a segmentation, outside the left ventricle where only that is drawn.
    spacing_mm: distance between slice, row and column centres, in that order.
    patient: the privacy unit; unique over all data sets of a run, the same for every phase and visit of one person.
    dataset, vendor, centre, phase, pathology: what sites, strata and conditions are made from.
    visit: what tells the patient's visits apart, in their order; "" where there is one.
    motion: how much each voxel changes over the heart beat (>= 0, arbitrary units, shape of the image), where the file
        is a cine; the heart is found by it where there is no mask.
    source: another image of the same slices, in another look or at another phase; on the grid of the image.
    voxels: SHA-256 (hex) of the image as it was read, which preparation leaves as it is; empty for one made in memory.
    conditions: what else is known, by name in `cmrfed.conditions`: a value for the stack, or an array with one for each
        slice.

    Raises UserError when the arrays differ in shape, hold NaN, infinities or unknown labels, or the spacing is absurd.
    """

    image: Volume
    mask: VolumeMask
    spacing_mm: tuple[float, float, float]
    patient: str
    dataset: str
    vendor: str = UNKNOWN
    centre: str = UNKNOWN
    phase: str = UNKNOWN
    pathology: str = UNKNOWN
    visit: str = ""
    motion: Volume | None = None
    source: Volume | None = None
    voxels: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = f"{self.patient} {self.phase}"
        if self.image.shape != self.mask.shape:
            raise UserError(f"{name}: image is {self.image.shape}, mask {self.mask.shape}; they must cover one grid")
        check_finite(self.image, name)
        check_spacing(self.spacing_mm, name)
        unknown = self.mask[(self.mask >= FIRST_TISSUE + MOST_TISSUES) & (self.mask != UNLABELLED)]
        if unknown.size:
            raise UserError(
                f"{name}: mask holds label {unknown.max()}; allowed are {listed({label: label for label in Label})}"
            )


class LongAxis(NamedTuple):
    """The labels that show where the left ventricle's long axis runs: its blood, and the left atrium behind it."""

    ventricle: tuple[int, ...]
    atrium: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """Where one Case is on disk and all that is known of it before a voxel is read.

    image_path: a NIfTI file, a folder with one DICOM short-axis series, or an ISMRMRD .h5 file of raw data.
    mask_path: a NIfTI file, a folder of contour texts, or None where there is no segmentation.
    labels: the mask file's label -> `Label` or UNLABELLED; contours need none.
    frame: 0-based index into a 4-D image, and into its mask where that is 4-D too; None for 3-D files, FIND where the
        phase's frame must be found.
    long_axis: set for a whole-heart volume, which is cut across the axis that these of its labels show.
    The other fields are those of `Case`.
    """

    image_path: Path
    mask_path: Path | None
    labels: Mapping[int, int]
    frame: int | Literal["find"] | None
    patient: str
    dataset: str
    vendor: str = UNKNOWN
    centre: str = UNKNOWN
    phase: str = UNKNOWN
    pathology: str = UNKNOWN
    visit: str = ""
    long_axis: LongAxis | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cine:
    """A stack over the heart beat of which only headers were read so far.

    shape: (slice, row, column) of a frame. frames: how many there are, None for a file without a time axis.
    read: a 0-based frame (None for the only one) -> intensities (slice, row, column), float32, finite.
    read_all: every frame in order of time, at the cost of going through the file once.
    files: `files[frame][slice]`, where every slice of every frame is a file of its own.
    """

    path: Path
    shape: tuple[int, int, int]
    frames: int | None
    spacing_mm: tuple[float, float, float]
    orientation: Orientation
    read: Callable[[int | None], Volume]
    read_all: Callable[[], Iterator[Volume]]
    vendor: str = UNKNOWN
    files: tuple[tuple[Path, ...], ...] = ()
