"""DICOM series of MR images (PS3.3, MR Image IOD), and their masks, as `data=folder` reads them:

    images/NAME/0001.dcm   a file a slice, a series a stack, a study a heart
    masks/NAME.nii.gz      its mask on the same grid
    cases.csv              what each is, and what it was asked to be

No viewer is to take them for a patient's: the patient's name begins with SYNTHETIC, images are DERIVED and SECONDARY,
Synthetic Data (0008,001C) is YES, the maker is no vendor, and DerivationDescription says which generator drew them.
Numbers and identifiers follow from the generator, the seed and the pixels: the same call gives the same files.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from cmrfed import __version__
from cmrfed.conditions import PHASES
from cmrfed.core import atomic
from cmrfed.layouts.contract import AUTHOR, Asked, Files, Layout, Provenance, Synthetic, Written, safe
from cmrfed.shapes import Volume
from cmrfed.volumes import affine_as_read, affine_of, write_volume

WHITE = 4095
"""Stored for an image's 1, in 12 bits as scanners store; 0 is 0. MR images have no rescale slope that viewers read."""
_LONGEST = 48
"""Of a name within a DICOM text of 64 characters."""
_COLUMNS = ("patient", "image", "mask", "phase", "vendor", "pathology", "sex", "age", "severity", "visit")
_LEFT_POSTERIOR = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From NIfTI's axes, right, anterior, superior, to DICOM's."""

Affine = Float64[np.ndarray, "4 4"]


class DicomSeries(Layout):
    """A series is a stack: its mask's place with underscores for slashes, after the vendor and the phase where several
    are drawn."""

    def files(self, out: Path, asked: Asked) -> Files:
        name = _name(asked)
        return Files(out / "images" / name, out / "masks" / f"{name}.nii.gz")

    def write(self, files: Files, pair: Synthetic, asked: Asked, made_by: Provenance) -> None:
        """The mask last. Slices of both are in the order in which DICOM's are read, along the normal of their plane."""
        affine = affine_as_read(pair.like) if pair.like else affine_of(pair.spacing_mm)
        image, mask = pair.image, pair.mask
        if np.linalg.det(_LEFT_POSTERIOR @ affine) < 0:
            image, mask = image[::-1], mask[::-1]
            affine = _from_the_other_end(affine, len(mask))
        with atomic.new_folder(files.image) as draft:
            for number, slice_ in enumerate(_slices(image, affine, asked, made_by), start=1):
                slice_.save_as(draft / f"{number:04d}.dcm", enforce_file_format=True)
        write_volume(files.mask, mask, pair.spacing_mm, AUTHOR, made_by.notes(of_mask=True), affine)

    def describe(self, out: Path, written: Sequence[Written], made_by: Provenance) -> None:
        told = {"stacks": len(written), "made_by": made_by.sentence, "white": WHITE}
        atomic.write_text(out / "README.md", _README.format(**told))
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_row, written))
        atomic.write_text(out / "cases.csv", text.getvalue())


def _name(asked: Asked) -> str:
    return safe("_".join([*asked.folders, *asked.name.split("/")]))


def _from_the_other_end(affine: Affine, slices: int) -> Affine:
    """The affine of the same stack with its last slice first."""
    turned = affine.copy()
    turned[:3, 3] += (slices - 1) * affine[:3, 2]
    turned[:3, 2] *= -1
    return turned


def _slices(image: Volume, affine: Affine, asked: Asked, made_by: Provenance) -> Iterator[Dataset]:
    """The files of a series, first slice first."""
    stored = np.rint(image.clip(0, 1) * WHITE).astype("<u2")
    source = [made_by.generator_sha256, str(made_by.seed), made_by.sampling.model_dump_json()]
    study = [*source, asked.heart]
    series = [*study, _name(asked), hashlib.sha256(np.ascontiguousarray(stored).tobytes()).hexdigest()]
    about = _about(asked, made_by) | {
        "StudyInstanceUID": _uid("study", study),
        "FrameOfReferenceUID": _uid("frame", study),
        "SeriesInstanceUID": _uid("series", series),
    }
    about |= _geometry(_LEFT_POSTERIOR @ affine)
    for number, pixels in enumerate(stored):
        own = {"SOPInstanceUID": _uid("image", [*series, str(number)]), "InstanceNumber": number + 1}
        yield _file(about | own | _place(_LEFT_POSTERIOR @ affine, number), pixels)


def _uid(of: str, names: Sequence[str]) -> UID:
    return generate_uid(entropy_srcs=["cmrfed", of, *names])


def _about(asked: Asked, made_by: Provenance) -> dict[str, Any]:
    """What the files of a series say besides geometry and pixels; types 1 and 2 of the IOD, and what warns of them."""
    heart = _short(safe(asked.heart))
    looks = " ".join(filter(None, [asked.moment, asked.known_as("vendor") and f"{asked.known_as('vendor')} look"]))
    return {
        "SOPClassUID": MRImageStorage,
        "ImageType": ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"],
        "SyntheticData": "YES",
        "Modality": "MR",
        "Manufacturer": "cmrfed",
        "ManufacturerModelName": _short(f"synthetic by {made_by.model}"),
        "SoftwareVersions": f"cmrfed {__version__}",
        "DerivationDescription": made_by.sentence,
        "ImageComments": "SYNTHETIC IMAGE. Not of a patient, not for diagnosis.",
        "PatientName": f"SYNTHETIC^{heart}",
        "PatientID": f"SYNTHETIC-{heart}",
        "PatientBirthDate": "",
        "PatientSex": asked.known_as("sex"),
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "synthetic image, drawn by a generator",
        "PatientComments": "SYNTHETIC. No such patient.",
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "StudyDescription": "SYNTHETIC short-axis cardiac MR",
        "SeriesDescription": _short(f"SYNTHETIC {looks}".rstrip()),
        "SeriesNumber": 1 + int.from_bytes(hashlib.sha256(_name(asked).encode()).digest()[:3]),
        "BodyPartExamined": "HEART",
        "PatientPosition": "HFS",
        "PositionReferenceIndicator": "",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        # research mode: no pulse sequence was played
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "2D",
        "RepetitionTime": None,
        "EchoTime": None,
        "EchoTrainLength": None,
    }


def _short(text: str) -> str:
    """As it is, or cut, and told from others that begin alike."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _geometry(affine: Affine) -> dict[str, Any]:
    """affine: (column, row, slice) -> mm left, posterior, superior."""
    column_mm, row_mm, slice_mm = np.linalg.norm(affine[:3, :3], axis=0)
    across, down = affine[:3, 0] / column_mm, affine[:3, 1] / row_mm
    return {
        "ImageOrientationPatient": _decimals([*across, *down]),
        "PixelSpacing": _decimals([row_mm, column_mm]),
        "SliceThickness": format_number_as_ds(float(slice_mm)),
        "SpacingBetweenSlices": format_number_as_ds(float(slice_mm)),
    }


def _place(affine: Affine, number: int) -> dict[str, Any]:
    position_mm = affine[:3, 3] + number * affine[:3, 2]
    along_mm = position_mm @ np.cross(affine[:3, 0], affine[:3, 1]) / np.prod(np.linalg.norm(affine[:3, :2], axis=0))
    return {
        "ImagePositionPatient": _decimals(position_mm),
        "SliceLocation": format_number_as_ds(float(along_mm)),
    }


def _decimals(numbers: Sequence[float] | Float64[np.ndarray, " number"]) -> list[str]:
    return [format_number_as_ds(float(number)) for number in numbers]


def _file(elements: Mapping[str, Any], pixels: np.ndarray) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = (WHITE + 1) // 2, WHITE + 1
    dataset.PixelData = pixels.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _row(one: Written) -> dict[str, str]:
    """Of cases.csv; several looks of a heart are its visits."""
    known = {name: one.asked.known_as(name) for name in ("phase", "vendor", "pathology", "sex", "age", "severity")}
    phase = known["phase"] or (one.asked.moment if one.asked.moment in PHASES else "")
    return known | {
        "patient": _short(safe(one.asked.heart)),
        "image": one.files.image.name,
        "mask": one.files.mask.name,
        "phase": phase,
        "visit": " ".join(folder for folder in one.asked.folders if folder not in PHASES),
    }


_README = """# {stacks} synthetic cardiac MR stacks as DICOM series

{made_by}

**None of these series is of a patient.** Each says so: patients' names begin with SYNTHETIC, the image type is
DERIVED, SECONDARY, Synthetic Data (0008,001C) is YES, and DerivationDescription names the generator.

- `images/NAME/`: a series, a file a slice; pixels from 0 to {white}
- `masks/NAME.nii.gz`: its mask on the same grid, 0 background, 1 LV, 2 myocardium, 3 RV, 255 unlabelled
- `cases.csv`: what each is and was asked to be

`cmrfed data verify` reads the folder, and so does `data=folder`.
"""
