"""Volumes on disk <-> Case, the one form in which a patient's stack travels through the project.

`nifti`, `dicom` and `kspace` each turn a file or folder into a `Cine`: a header that was checked, and a way to read its
frames. `contours` and `nifti` read what is drawn on it, `phases` finds end diastole and end systole and measures
motion, `whole_heart` cuts volumes that are not short-axis, and `load` puts one `Case` together from an `Entry`.
"""

from cmrfed.volumes.case import FIND, Case, Cine, Entry, LongAxis
from cmrfed.volumes.dicom import holds_dicom
from cmrfed.volumes.limits import MAX_AXIS, MAX_BYTES, SPACING_RANGE_MM
from cmrfed.volumes.load import load_case, open_cine
from cmrfed.volumes.nifti import (
    affine_as_read,
    affine_of,
    is_written_by,
    notes_of,
    read_mask,
    read_volume,
    write_on_grid_of,
    write_volume,
)
from cmrfed.volumes.orientation import AS_STORED, Orientation
from cmrfed.volumes.vendors import canonical_vendor

__all__ = [
    "AS_STORED",
    "FIND",
    "MAX_AXIS",
    "MAX_BYTES",
    "SPACING_RANGE_MM",
    "Case",
    "Cine",
    "Entry",
    "LongAxis",
    "Orientation",
    "affine_as_read",
    "affine_of",
    "canonical_vendor",
    "holds_dicom",
    "is_written_by",
    "load_case",
    "notes_of",
    "open_cine",
    "read_mask",
    "read_volume",
    "write_on_grid_of",
    "write_volume",
]
