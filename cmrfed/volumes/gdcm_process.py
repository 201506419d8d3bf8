"""Compressed DICOM pixels by GDCM, in a process of its own: python -P gdcm_process.py

Damaged JPEG ends the process that decodes it (15 of 4,000 corrupted streams did), and damaged JPEG 2000 asked for 5 GB.
So this file runs apart, with a limit on memory and time, and knows nothing of the project. It reads DICOM files from
its standard input and answers each with its pixels, as 32-bit integers in order of rows, or with nothing where the
file cannot be decoded; eight bytes with the length go before each file and answer.
"""

import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

MEMORY_BYTES = 2 * 2**30
SECONDS_EACH = 20
LENGTH_BYTES = 8


def decode_all(requests: BinaryIO, answers: BinaryIO, folder: Path) -> None:
    """Answer every request until there are no more."""
    while len(length := requests.read(LENGTH_BYTES)) == LENGTH_BYTES:
        path = folder / "image.dcm"
        path.write_bytes(requests.read(int.from_bytes(length, "little")))
        signal.alarm(SECONDS_EACH)
        pixels = decode(path)
        signal.alarm(0)
        answers.write(len(pixels).to_bytes(LENGTH_BYTES, "little") + pixels)
        answers.flush()


def decode(path: Path) -> bytes:
    """The pixels of one file, empty where it has none that can be decoded."""
    import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        return sitk.GetArrayFromImage(reader.Execute()).astype("<i4").tobytes()
    except (RuntimeError, MemoryError):
        return b""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # GDCM writes what it thinks of a file to the terminal
    with tempfile.TemporaryDirectory() as folder:
        decode_all(sys.stdin.buffer, answers, Path(folder))


if __name__ == "__main__":
    main()
