"""The pixels of one DICOM image: plain and run-length encoded ones by pydicom, others by GDCM in a process of its own.

GDCM is given a file that is written here out of the pixels and eight numbers, so that no name, length or sequence of a
stranger's file reaches it; see `gdcm_process` for what is left to fear.
"""

import atexit
import os
import subprocess
import sys
import warnings
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from jaxtyping import Float32, Integer
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag
from pydicom.uid import MRImageStorage, RLELossless

from cmrfed.config import UserError
from cmrfed.volumes.dicom_file import DicomImage, content_of, finite, parse, text
from cmrfed.volumes.gdcm_process import LENGTH_BYTES
from cmrfed.volumes.limits import check_finite, one_line

_GEOMETRY = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_INTERCEPT, _SLOPE, _PIXELS = 0x00281052, 0x00281053, 0x7FE00010
_TAGS = (0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)
_MOST_EXPANSION = 2
"""Compressed pixels of more than this many times their size in memory are no image: run lengths can hide gigabytes."""


def read_pixels(image: DicomImage) -> Float32[np.ndarray, "row column"]:
    """Intensities scaled by the file's slope and intercept; bright is bright in MONOCHROME1 too.

    Raises UserError when they cannot be decoded, are not as many as the header says, or are not finite.
    """
    try:
        dataset, _ = parse(content_of(image.path), (*_TAGS, _INTERCEPT, _SLOPE, _PIXELS), _after_pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = _stored(dataset, image.size)
    except Exception as error:  # pydicom names no closed set of errors over damaged files
        raise UserError(f"{image.path}: pixels cannot be read ({one_line(error)}); copy the file again") from None
    # a slope of 0, which DICOM forbids, stands for none
    slope, intercept = finite(text(dataset, _SLOPE)) or 1.0, finite(text(dataset, _INTERCEPT)) or 0.0
    with np.errstate(all="ignore"):  # what comes of an absurd slope is checked
        scaled: Float32[np.ndarray, "row column"] = (stored * slope + intercept).astype(np.float32)
    check_finite(scaled, image.path)
    return scaled


def _after_pixels(tag: BaseTag, kind: str | None, length: int) -> bool:
    """Whether what follows is no image any more: other elements, or zeros that filled up a block of a tape."""
    return tag > _PIXELS or tag == 0


def _stored(dataset: Dataset, size: tuple[int, int]) -> Integer[np.ndarray, "row column"]:
    """The pixels as numbers before slope and intercept."""
    columns, rows = size
    if (dataset.Columns, dataset.Rows, dataset.SamplesPerPixel) != (columns, rows, 1):
        raise ValueError("the file changed while it was read")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and len(dataset.PixelData) > _MOST_EXPANSION * 4 * rows * columns:
        raise ValueError("compressed pixels take more room than plain ones")
    if syntax.is_encapsulated and syntax != RLELossless:
        stored = _by_gdcm(dataset)
    else:
        stored, _ = get_decoder(syntax).as_array(dataset, index=0, raw=True)
    return _inverted(dataset, stored) if dataset.PhotometricInterpretation == "MONOCHROME1" else stored


def _inverted(dataset: Dataset, stored: Integer[np.ndarray, "row column"]) -> Integer[np.ndarray, "row column"]:
    """Dark for bright within the bits that are stored: -1 - x of signed pixels, 2^bits - 1 - x of unsigned ones."""
    highest = -1 if dataset.PixelRepresentation else 2**dataset.BitsStored - 1
    return highest - stored.astype(np.int64)


def _by_gdcm(dataset: Dataset) -> Integer[np.ndarray, "row column"]:
    pixels = _answer(_clean_file(dataset))
    if len(pixels) != 4 * dataset.Rows * dataset.Columns:
        raise ValueError(f"{dataset.file_meta.TransferSyntaxUID.name} that cannot be decoded")
    return np.frombuffer(pixels, "<i4").reshape(dataset.Rows, dataset.Columns)


def _clean_file(dataset: Dataset) -> bytes:
    """A DICOM file of the compressed pixels and what must be known to decode them."""
    clean = Dataset()
    for keyword in _GEOMETRY:
        setattr(clean, keyword, int(getattr(dataset, keyword)))
    clean.PhotometricInterpretation = "MONOCHROME2"
    clean.SOPClassUID, clean.SOPInstanceUID = MRImageStorage, "2.25.1"
    clean.PixelData = encapsulate([next(generate_frames(dataset.PixelData, number_of_frames=1))])
    clean["PixelData"].VR, clean["PixelData"].is_undefined_length = "OB", True
    clean.file_meta = FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    file = BytesIO()
    clean.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _answer(file: bytes) -> bytes:
    """What GDCM's process answers; nothing where the file ends it, and then the next file starts another."""
    process = _gdcm(os.getpid())
    requests, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
    with suppress(BrokenPipeError):
        requests.write(len(file).to_bytes(LENGTH_BYTES, "little") + file)
        requests.flush()
    length = answers.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        _gdcm.cache_clear()
        _end(process)
    return answers.read(int.from_bytes(length, "little")) if length else b""


@cache
def _gdcm(owner: int) -> "subprocess.Popen[bytes]":
    """The decoder of the process with this number: a fork must not share its parent's."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    command = [sys.executable, "-P", str(Path(__file__).with_name("gdcm_process.py"))]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    atexit.register(_end, process)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()
    atexit.unregister(_end)
