"""Writers of the image files that hospitals have and this project only reads: DICOM, and ISMRMRD raw data."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from toy_hearts import SPACING_MM, toy_image, toy_mask

ROW = np.array([0.8, 0.0, -0.6])
"""Directions of an invented short-axis plane in DICOM's frame (left, posterior, superior): along a row of pixels,"""
COLUMN = np.array([0.0, 1.0, 0.0])
"""and down a column."""
NORMAL = np.cross(ROW, COLUMN)

SCALES = (1.0, 0.85, 0.7, 0.9)
"""Size of the LV in each frame of a toy cine: ED is frame 0, ES frame 2."""

_MR_STORAGE, _EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1"
_KINDS = {"0028": "US", "7fe0": "OW", "0020000d": "UI", "0020000e": "UI", "00080016": "UI", "00080018": "UI"}
_KINDS |= {"00281052": "DS", "00281053": "DS", "00280030": "DS", "00280004": "CS", "00200032": "DS", "00200037": "DS"}
_KINDS |= {"00181060": "DS", "00180050": "DS", "00180088": "DS", "00200013": "IS", "00080060": "CS", "00080008": "CS"}
_KINDS |= {"00080070": "LO", "00100010": "PN", "00100020": "LO", "0002": "UI"}


def toy_cine(scales: Sequence[float] = SCALES, slices: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks (frame, slice, row, column) of a heart that beats."""
    masks = np.stack([toy_mask(slices, scale=scale) for scale in scales])
    return np.stack([toy_image(mask, seed) for seed, mask in enumerate(masks)]).round(), masks


def write_dicom(path: Path, pixels: np.ndarray, slice_mm: float = 0.0, **tags: object) -> Path:
    """One MR image (row, column), stored at half its scale, `slice_mm` along the plane's normal.

    Tags are given as t00181060=33.5; None leaves one out.
    """
    rows, columns = pixels.shape
    values: dict[str, object] = {
        "00080008": "ORIGINAL\\PRIMARY\\M\\ND",
        "00080016": _MR_STORAGE,
        "00080018": "1.2.9",
        "00080060": "MR",
        "00080070": "SIEMENS",
        "00100010": "Doe^Jane",
        "00180050": "6",
        "0020000d": "1.2.3",
        "0020000e": "1.2.3.4",
        "00200032": _joined(np.array([-20.0, 30.0, 40.0]) + slice_mm * NORMAL),
        "00200037": _joined([*ROW, *COLUMN]),
        "00280002": 1,
        "00280004": "MONOCHROME2",
        "00280010": rows,
        "00280011": columns,
        "00280030": _joined(SPACING_MM[1:]),
        "00280100": 16,
        "00280101": 16,
        "00280102": 15,
        "00280103": 1,
        "00281052": "-3",
        "00281053": "0.5",
        "7fe00010": np.asarray((pixels + 3) * 2).round().astype("<i2").tobytes(),
    }
    values |= {name[1:]: value for name, value in tags.items()}
    body = b"".join(_element(tag, value) for tag, value in sorted(values.items()) if value is not None)
    meta = _element("00020002", _MR_STORAGE) + _element("00020003", "1.2.9")
    meta += _element("00020010", _EXPLICIT_LITTLE_ENDIAN)
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + length + meta + body)
    return path


def write_dicom_series(folder: Path, cine: np.ndarray, gap_mm: float = SPACING_MM[0], **tags: object) -> None:
    """A cine (frame, slice, row, column) as one file an image, numbered slice by slice as scanners do."""
    number = 0
    for at in range(cine.shape[1]):
        for frame in range(cine.shape[0]):
            number += 1
            own = {"t00181060": 33.5 * frame, "t00200013": number, "t00080018": f"1.2.9.{number}"}
            write_dicom(folder / f"IM-0003-{number:04d}.dcm", cine[frame, at], at * gap_mm, **(own | tags))


def write_kspace(path: Path, cine: np.ndarray, coils: int = 2) -> None:
    """A cine (frame, slice, row, column) as an ISMRMRD file: twice the readout, a noise line first, slices shuffled.

    Readout runs along columns. Coil sensitivities are chosen so that the root sum of squares gives the image back.
    """
    frames, slices, rows, columns = cine.shape
    wide = np.zeros((frames, slices, coils, rows, 2 * columns), np.complex64)
    weights = np.exp(1j * np.arange(coils)) / np.sqrt(coils)
    wide[..., columns // 2 : columns // 2 + columns] = cine[:, :, None] * weights[:, None, None]
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wide, axes=(3, 4))), axes=(3, 4))
    places = [(frame, at, row) for at in range(slices) for frame in range(frames) for row in range(rows)]
    lines = np.zeros(1 + len(places), _line_type())
    lines["head"]["active_channels"], lines["head"]["number_of_samples"] = coils, 2 * columns
    lines["head"]["center_sample"] = columns
    lines["head"]["read_dir"], lines["head"]["phase_dir"], lines["head"]["slice_dir"] = ROW, COLUMN, NORMAL
    lines["head"]["flags"][0] = 1 << 18  # noise
    lines["traj"].fill(np.zeros(0, np.float32))
    lines["data"][0] = np.full(2 * coils * 2 * columns, 9e9, np.float32)
    for number, (frame, at, row) in enumerate(places, start=1):
        head = lines["head"][number]
        head["idx"]["kspace_encode_step_1"], head["idx"]["phase"] = row, frame
        head["idx"]["slice"] = slices - 1 - at  # the scanner's numbers run against the normal
        head["position"] = at * SPACING_MM[0] * NORMAL
        lines["data"][number] = kspace[frame, at, :, row].astype(np.complex64).ravel().view(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/data", data=lines)
        file.create_dataset(
            "dataset/xml", data=np.array([_header(rows, columns, slices)], object), dtype=h5py.string_dtype()
        )


def _element(tag: str, value: object) -> bytes:
    """One element in explicit little-endian encoding."""
    kind = _KINDS.get(tag) or _KINDS.get(tag[:4], "LO")
    content = value if isinstance(value, bytes) else _encoded(kind, value)
    head = int(tag[:4], 16).to_bytes(2, "little") + int(tag[4:], 16).to_bytes(2, "little") + kind.encode()
    long = kind == "OW"
    return (
        head + (b"\0\0" + len(content).to_bytes(4, "little") if long else len(content).to_bytes(2, "little")) + content
    )


def _encoded(kind: str, value: object) -> bytes:
    if kind == "US":
        return int(str(value)).to_bytes(2, "little")
    text = str(value).encode("latin-1")
    return text + (b"\0" if kind == "UI" else b" ") * (len(text) % 2)


def _joined(values: Sequence[float] | np.ndarray) -> str:
    return "\\".join(f"{value:.6g}" for value in values)


def _line_type() -> np.dtype:
    """ISMRMRD's acquisition: header, trajectory, and samples as interleaved floats."""
    index = [(name, "<u2") for name in ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast")]
    index += [(name, "<u2") for name in ("phase", "repetition", "set", "segment")] + [("user", "<u2", (8,))]
    head = [("version", "<u2"), ("flags", "<u8"), ("number_of_samples", "<u2"), ("active_channels", "<u2")]
    head += [("center_sample", "<u2"), ("position", "<f4", (3,)), ("read_dir", "<f4", (3,))]
    head += [("phase_dir", "<f4", (3,)), ("slice_dir", "<f4", (3,)), ("idx", index)]
    floats = h5py.vlen_dtype(np.float32)
    return np.dtype([("head", head), ("traj", floats), ("data", floats)])


def _header(rows: int, columns: int, slices: int) -> str:
    """The XML header that matters here: a doubled readout."""
    slice_mm, row_mm, column_mm = SPACING_MM

    def space(name: str, readout: int) -> str:
        field = f"<x>{readout * column_mm}</x><y>{rows * row_mm}</y><z>{slice_mm}</z>"
        matrix = f"<x>{readout}</x><y>{rows}</y><z>1</z>"
        return f"<{name}><matrixSize>{matrix}</matrixSize><fieldOfView_mm>{field}</fieldOfView_mm></{name}>"

    step = f"<minimum>0</minimum><maximum>{rows - 1}</maximum><center>{rows // 2}</center>"
    limits = f"<encodingLimits><kspace_encoding_step_1>{step}</kspace_encoding_step_1></encodingLimits>"
    system = "<acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor></acquisitionSystemInformation>"
    encoding = space("encodedSpace", 2 * columns) + space("reconSpace", columns) + limits
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        f"{system}<encoding>{encoding}<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )
