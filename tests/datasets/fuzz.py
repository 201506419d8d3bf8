"""Corrupts small data sets, one file at a time, and reads them: python -m fuzz FOLDER COUNT SEED.

Prints one JSON object: how many corruptions were read or refused, what else happened to any (there should be none), the
slowest in seconds, and the peak memory of the process. A run of its own, so that memory is its own and a crash of a C
library is seen as one.
"""

import gzip
import json
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import image_files as packed
import numpy as np
from image_files import toy_cine, write_dicom_series
from layouts import save_scaled, write_acdc_patient, write_mnms_patient, write_mnms_table
from layouts_more import (
    write_folder,
    write_mmwhs_patient,
    write_mnms2,
    write_mscmrseg_patient,
    write_ocmr,
    write_sunnybrook,
    write_ukbiobank_subject,
)
from peak_memory import peak_mib

from cmrfed.config import UserError
from cmrfed.datasets import DATASETS, find_entries, recognise
from cmrfed.volumes import Case, load_case

SECONDS_EACH = 20
NASTY = (
    "../../secret.nii.gz", "/etc/passwd", "../images/../../secret.nii.gz",
    "\0", "1e999", "nan", "-1", "", " ", "٣",
    "9" * 400, "x" * 200_000, '"', '"\n"', "\u202e", "=1+1", "\x1b[31m", "0x10", "1_000", "٣.٣", "con\rtrol", "Ａ",
)  # fmt: skip
"""What may stand in a cell or a line: ways out of the folder, numbers that are none, text that breaks a terminal."""
PACKINGS = (
    packed.bare_implicit,
    packed.deflated,
    packed.jpeg,
    packed.jpeg_2000,
    packed.run_length,
    lambda content: packed.padded(packed.with_sequences(content, 3)),
)
"""How the six DICOM files of one patient are written."""
NIFTI_FIELDS = {
    "sizeof_hdr": (0, "<i4"), "dim0": (40, "<i2"), "dim1": (42, "<i2"), "dim3": (46, "<i2"), "dim4": (48, "<i2"),
    "datatype": (70, "<i2"), "bitpix": (72, "<i2"), "pixdim0": (76, "<f4"), "pixdim1": (80, "<f4"),
    "pixdim2": (84, "<f4"), "srow_z": (320, "<f4"), "pixdim3": (88, "<f4"),
    "vox_offset": (108, "<f4"), "scl_slope": (112, "<f4"), "scl_inter": (116, "<f4"),
    "xyzt_units": (123, "<u1"), "qform_code": (252, "<i2"), "sform_code": (254, "<i2"), "quatern_b": (256, "<f4"),
    "qoffset_x": (268, "<f4"), "srow_x": (280, "<f4"), "srow_y": (300, "<f4"), "magic": (344, "<i4"),
    "extension": (348, "<i4"),
}  # fmt: skip
EXTREMES = {
    "i": (0, 1, -1, 2, 3, 4, 7, 8, 16, 64, 128, 512, 768, 1024, 2048, 32767, -32768),
    "u": (0, 1, 127, 255),
    "f": (0.0, -1.0, 1e-30, 1e30, 3e38, np.nan, np.inf, -np.inf, 352.0, 351.0, 1e9),
}

Random = np.random.Generator


def write_data_sets(root: Path) -> None:
    """A small copy of every layout, and beside them a volume that no table may reach."""
    write_acdc_patient(root / "acdc" / "training" / "patient001")
    write_mnms_table(root / "mnms", ["A0S9V9,Siemens,A,1,0,1,30,HCM,M,172,70", "B1D0Q7,GE,B,2,,,43,NOR,F,,60"])
    write_mnms_patient(root / "mnms" / "Training" / "Labeled" / "A0S9V9")
    write_mnms_patient(root / "mnms" / "Training" / "Unlabeled" / "B1D0Q7", masks=False)
    write_mnms2(root / "mnms2", (1,), ("SIEMENS",))
    write_sunnybrook(root / "sunnybrook", ("SC-HF-I-1",), slices=1)
    write_mscmrseg_patient(root / "mscmrseg", 1)
    write_mmwhs_patient(root / "mmwhs", 1001, np.array([-0.6, 0.64, -0.48]), size=32, voxel_mm=6.0)
    write_ukbiobank_subject(root / "ukbiobank" / "1000001", masks=("ED",))
    write_ukbiobank_subject(root / "ukbiobank" / "1000002", masks=())
    write_ocmr(root / "ocmr", ("fs_0012_3T.h5",), slices=1)
    rows = ("P1,cine.nii.gz,cine.nii.gz,,SIEMENS", "P2,series,,,", "P3,ed.nii.gz,ed.nii.gz,ED,GE")
    write_folder(root / "folder", rows, slices=1)
    images, _ = toy_cine(scales=(1.0, 0.6, 0.8), slices=2)
    write_dicom_series(root / "cine" / "P1", images)
    save_scaled(root / "cine" / "P2.nii.gz", images.T)
    write_dicom_series(root / "cine" / "P3", images)
    for path, packing in zip(sorted((root / "cine" / "P3").iterdir()), PACKINGS, strict=True):
        path.write_bytes(packing(path.read_bytes()))
    (root / "pairs").mkdir()
    for suffix in (".nii.gz", "_gt.nii.gz"):
        shutil.copy(root / "acdc" / "training" / "patient001" / f"patient001_frame01{suffix}", root / "pairs")
    shutil.copytree(root / "mnms", root / "phantom")
    (root / "phantom" / "phantom.json").write_text("{}")
    save_scaled(root / "secret.nii.gz", np.full((48, 40, 3), 77.0))


def truncate(content: bytes, random: Random) -> bytes:
    return content[: int(random.integers(0, len(content)))]


def flip_bits(content: bytes, random: Random) -> bytes:
    flipped = np.frombuffer(content, np.uint8).copy()
    where = random.integers(0, min(len(flipped), random.choice([64, 400, len(flipped)])), random.integers(1, 20))
    flipped[where] ^= (1 << random.integers(0, 8, len(where))).astype(np.uint8)
    return flipped.tobytes()


def overwrite(content: bytes, random: Random) -> bytes:
    start = int(random.integers(0, len(content)))
    length = int(random.integers(1, 200))
    filling = random.choice([bytes(length), b"\xff" * length, random.bytes(length)])
    return content[:start] + bytes(filling) + content[start + length :]


def replace_all(content: bytes, random: Random) -> bytes:
    return bytes(random.choice([b"", b"hello\n" * 99, random.bytes(999), b"\x1f\x8b\x08", bytes(352), b"<html>" * 20]))


def repeat_parts(content: bytes, random: Random) -> bytes:
    start = int(random.integers(0, len(content)))
    return content[:start] + content[start // 2 :]


def change_header(content: bytes, random: Random) -> bytes:
    """One to three fields of a NIfTI header at an extreme."""
    for _ in range(random.integers(1, 4)):
        offset, kind = NIFTI_FIELDS[random.choice(list(NIFTI_FIELDS))]
        value = np.array(random.choice(EXTREMES[kind[1]]), kind).tobytes()
        content = content[:offset] + value + content[offset + len(value) :]
    return content


def change_elements(content: bytes, random: Random) -> bytes:
    """DICOM with sequences nested deep, an element twice or cut out, lengths at an extreme, or another ending."""
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(132, max(133, min(len(content), 700)))) // 2 * 2
        kind = str(random.choice(["nest", "repeat", "cut", "length", "end"]))
        if kind == "nest":
            nested = (b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4) * 20_000
            content = content[:at] + nested + content[at:]
        elif kind == "repeat":
            content = content[:at] + content[at - 100 :]
        elif kind == "cut":
            content = content[:at] + content[at + int(random.integers(2, 60)) :]
        elif kind == "length":
            content = content[:at] + random.choice([b"\xff" * 4, b"\xf0\xff\xff\x7f", bytes(4)]) + content[at + 4 :]
        else:
            content = content + random.choice(
                [bytes(512), b"\n", b"\xff" * 8, b"\xfc\xff\xfc\xffOB\0\0\xff\xff\xff\x7f"]
            )
    return content


def spoil_voxels(content: bytes, random: Random) -> bytes:
    """The same bytes as floats, NaN and infinities among them."""
    kind, bits = ((16, 32), (64, 64), (4, 16), (512, 16), (32, 64))[random.integers(5)]
    header = content[:70] + np.array([kind, bits], "<i2").tobytes() + content[74:352]
    filling = np.array([np.nan, np.inf, -np.inf, 1e30, 5.0][random.integers(5)], "<f4").tobytes()
    return header + content[352:] * 8 + filling * 4


def change_cell(content: bytes, random: Random) -> bytes:
    """One cell or line of a text."""
    lines = content.decode("utf-8", "replace").splitlines()
    at = int(random.integers(0, max(1, len(lines))))
    separator = "," if "," in (lines or [""])[at] else (":" if ":" in lines[at] else " ")
    cells = lines[at].split(separator)
    cells[random.integers(len(cells))] = str(random.choice(NASTY))
    lines[at] = separator.join(cells)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def swap_columns(content: bytes, random: Random) -> bytes:
    lines = [line.split(",") for line in content.decode("utf-8", "replace").splitlines()]
    one, other = random.integers(0, max(1, min(map(len, lines), default=1)), 2)
    for cells in lines[int(random.integers(0, 2)) :]:  # the names too, or the values alone
        cells[one], cells[other] = cells[other], cells[one]
    return "\r".join(map(",".join, lines)).encode()


def shuffle_lines(content: bytes, random: Random) -> bytes:
    lines = content.splitlines()
    chosen = random.integers(0, max(1, len(lines)), len(lines) + int(random.integers(0, 3)))
    return b"\n".join(lines[at] for at in chosen if lines)


def re_encode(content: bytes, random: Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(str(random.choice(["utf-16", "utf-32", "cp037", "utf-8-sig", "utf-7"])), "replace")


def inflate(content: bytes, random: Random) -> bytes:
    """A header that claims as much as it may, or more, and some megabytes of zeros behind it."""
    shape = [(4, 1024, 1024, 64, 1), (4, 512, 512, 64, 60), (3, 1024, 1024, 1024, 1), (4, 64, 64, 16, 1024)][
        random.integers(4)
    ]
    dim = np.array([*shape, 1, 1, 1], "<i2").tobytes()
    return content[:40] + dim + content[56:70] + np.array([2, 8], "<i2").tobytes() + content[74:352] + bytes(2**23)


Corruption = Callable[[bytes, Random], bytes]
ANY: tuple[Corruption, ...] = (truncate, flip_bits, overwrite, replace_all, repeat_parts)
HEADERS: tuple[Corruption, ...] = (change_header, change_header, spoil_voxels, flip_bits, overwrite, inflate)
ELEMENTS: tuple[Corruption, ...] = (change_elements, flip_bits, overwrite, truncate)
TEXT: tuple[Corruption, ...] = (change_cell, change_cell, swap_columns, shuffle_lines, re_encode)


def corrupt(path: Path, random: Random) -> str:
    """Damage one file in one way; returns what was done."""
    if random.random() < 0.06:
        return corrupt_place(path, random)
    content = path.read_bytes()
    if path.name.endswith(".nii.gz") and random.random() < 0.75 and content[:2] == b"\x1f\x8b":
        change = HEADERS[random.integers(len(HEADERS))]
        path.write_bytes(gzip.compress(change(gzip.decompress(content), random), 1))
    else:
        text = path.suffix in (".csv", ".cfg", ".txt") and random.random() < 0.7
        kinds = TEXT if text else ELEMENTS if path.suffix == ".dcm" and random.random() < 0.7 else ANY
        change = kinds[random.integers(len(kinds))]
        path.write_bytes(change(content, random) if content else b"?")
    return change.__name__


def corrupt_place(path: Path, random: Random) -> str:
    """Put something else where the file was: nothing, a folder, or a link."""
    path.unlink()
    kind = str(random.choice(["nothing", "folder", "link out", "loop", "broken link", "other file"]))
    if kind == "folder":
        path.mkdir()
    elif kind == "other file":
        others = sorted(other for other in path.parent.iterdir() if other.is_file())
        if others:
            shutil.copyfile(others[random.integers(len(others))], path)
    elif kind != "nothing":
        path.symlink_to({"link out": "/etc/hostname", "loop": path.name, "broken link": "nowhere"}[kind])
    return kind


def choose(files: list[Path], random: Random) -> Path:
    """Any file, tables and texts more often than their number asks for."""
    texts = [path for path in files if path.suffix in (".csv", ".cfg", ".txt")]
    chosen = texts if texts and random.random() < 0.3 else files
    return chosen[int(random.integers(len(chosen)))]


def mend(path: Path, content: bytes) -> None:
    """The file as it was, whatever is in its place."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def read_everything(name: str, root: Path) -> tuple[int, int]:
    """How many cases were read, and how many faults were each told in one line."""
    problems: list[UserError] = []
    recognise(root)
    try:
        entries = find_entries(name, root, unlabelled=True, problems=problems)
    except UserError as error:
        problems.append(error)
        entries = []
    read = 0
    for entry in entries:
        try:
            check_case(load_case(entry))
            read += 1
        except UserError as error:
            problems.append(error)
    for problem in problems:
        if len(str(problem).splitlines()) != 1 or not str(problem).isprintable() or len(str(problem)) > 2000:
            raise AssertionError(f"not one line of text: {str(problem)[:300]!r}")
    return read, len(problems)


def check_case(case: Case) -> None:
    """What was read is a case, and not the volume that lies outside every data set."""
    assert case.image.dtype == np.float32 and case.mask.dtype == np.uint8
    assert case.image.ndim == 3 and case.image.shape == case.mask.shape and np.isfinite(case.image).all()
    assert not (case.image == 77).all(), "a file outside the data set was read"


def refuse_to_open(secret: Path) -> None:
    """From here on any attempt of Python to open the file is an error."""

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(("/secret.nii.gz", "/etc/passwd")):
            raise AssertionError(f"{arguments[0]} was opened")

    sys.addaudithook(watch)


def fuzz(root: Path, count: int, seed: int) -> dict[str, object]:
    """Corrupt a file and read its data set `count` times; the file is mended each time."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest = (0.0, "")
    files = {name: sorted(path for path in (root / name).rglob("*") if path.is_file()) for name in DATASETS}
    for number in range(count):
        random = np.random.default_rng([seed, number])
        name = list(DATASETS)[number % len(DATASETS)]
        path = choose(files[name], random)
        content = path.read_bytes()
        case = f"{number} {name}: {corrupt(path, random)} {path.relative_to(root)}"
        signal.alarm(SECONDS_EACH)
        began = time.perf_counter()
        try:
            read, told = read_everything(name, root / name)
            outcomes["refused" if told else "read" if read else "nothing"] += 1
        except Exception:
            failures.append(f"{case}: {traceback.format_exc(limit=-3)}")
        finally:
            signal.alarm(0)
        slowest = max(slowest, (time.perf_counter() - began, case))
        mend(path, content)
    peak_gib = peak_mib() / 2**10
    return {"outcomes": outcomes, "failures": failures, "slowest": slowest, "peak_gib": peak_gib}


def hang(*_: object) -> None:
    raise TimeoutError(f"took longer than {SECONDS_EACH} s")


if __name__ == "__main__":
    folder, cases, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGALRM, hang)
    warnings.simplefilter("error")
    write_data_sets(folder)
    refuse_to_open(folder / "secret.nii.gz")
    sys.stdout.write(json.dumps(fuzz(folder, cases, first)))
