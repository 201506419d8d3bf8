"""Writers of the image files that hospitals have and this project only reads: DICOM, and ISMRMRD raw data."""

import tempfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from pydicom import uid
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


def write_dicom(path: Path, pixels: np.ndarray, slice_mm: float = 0.0, aside_mm: float = 0.0, **tags: object) -> Path:
    """One MR image (row, column), stored at half its scale, `slice_mm` along the normal, `aside_mm` along a row.

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
        "00200032": _joined(np.array([-20.0, 30.0, 40.0]) + slice_mm * NORMAL + aside_mm * ROW),
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_meta(_EXPLICIT_LITTLE_ENDIAN) + body)
    return path


def write_dicom_series(folder: Path, cine: np.ndarray, gap_mm: float = SPACING_MM[0], **tags: object) -> None:
    """A cine (frame, slice, row, column) as one file an image, numbered slice by slice as scanners do."""
    number = 0
    for at in range(cine.shape[1]):
        for frame in range(cine.shape[0]):
            number += 1
            own = {"t00181060": 33.5 * frame, "t00200013": number, "t00080018": f"1.2.9.{number}"}
            write_dicom(folder / f"IM-0003-{number:04d}.dcm", cine[frame, at], at * gap_mm, **(own | tags))


def repack(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Every file of the folder in another form."""
    for path in sorted(folder.iterdir()):
        path.write_bytes(change(path.read_bytes()))


def without_preamble(content: bytes) -> bytes:
    """As files are that begin with group 2."""
    return content[132:]


def without_header(content: bytes) -> bytes:
    """The bare data set, as before DICOM had files."""
    return content[_end_of_meta(content) :]


def padded(content: bytes) -> bytes:
    """Filled up to a tape's next block with zeros."""
    return content + bytes(512)


def with_newline(content: bytes) -> bytes:
    return content + b"\n"


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    at = _end_of_meta(content)
    return _meta(uid.DeflatedExplicitVRLittleEndian) + packer.compress(content[at:]) + packer.flush()


def implicit(content: bytes) -> bytes:
    return _saved(pydicom.dcmread(BytesIO(content)), uid.ImplicitVRLittleEndian)


def bare_implicit(content: bytes) -> bytes:
    """Old exports of Siemens and GE: no header, and no types of elements."""
    return without_header(implicit(content))


def big_endian(content: bytes) -> bytes:
    data_set = pydicom.dcmread(BytesIO(content))
    data_set.PixelData = np.frombuffer(data_set.PixelData, "<i2").astype(">i2").tobytes()
    return _saved(data_set, uid.ExplicitVRBigEndian)


def run_length(content: bytes) -> bytes:
    data_set = pydicom.dcmread(BytesIO(content))
    data_set.compress(uid.RLELossless, generate_instance_uid=False)
    return _saved(data_set, uid.RLELossless)


def jpeg(content: bytes) -> bytes:
    return _compressed(content, "JPEG")


def jpeg_2000(content: bytes) -> bytes:
    return _compressed(content, "JPEG2000")


def inverted(content: bytes) -> bytes:
    """White is 0, and the pixels so that the picture is the same."""
    data_set = pydicom.dcmread(BytesIO(content))
    data_set.PixelData = (-1 - data_set.pixel_array).astype("<i2").tobytes()
    data_set.PhotometricInterpretation = "MONOCHROME1"
    return _saved(data_set, uid.ExplicitVRLittleEndian)


def with_sequences(content: bytes, depth: int, stated: bool = False) -> bytes:
    """Sequences in sequences before the patient's name, their lengths stated or left to be found."""
    sequence, item, unknown = b"\x08\0\x40\x11SQ\0\0", b"\xfe\xff\x00\xe0", b"\xff" * 4
    if stated:
        nested = b""
        for _ in range(depth):
            inside = item + len(nested).to_bytes(4, "little") + nested
            nested = sequence + len(inside).to_bytes(4, "little") + inside
    else:
        end = b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
        nested = (sequence + unknown + item + unknown) * depth + end * depth
    at = content.index(b"\x10\0\x10\0PN")
    return content[:at] + nested + content[at:]


def _compressed(content: bytes, compressor: str) -> bytes:
    """The pixels as GDCM compresses them, in the file's own data set."""
    data_set = pydicom.dcmread(BytesIO(content))
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(f"{folder}/image.dcm")
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(sitk.GetImageFromArray(data_set.pixel_array[None]))
        small = pydicom.dcmread(f"{folder}/image.dcm")
    data_set.PixelData = small.PixelData
    data_set["PixelData"].VR, data_set["PixelData"].is_undefined_length = "OB", True
    return _saved(data_set, small.file_meta.TransferSyntaxUID)


def _saved(data_set: pydicom.Dataset, syntax: str) -> bytes:
    again = pydicom.Dataset({element.tag: element for element in data_set})  # of no encoding yet
    again.file_meta = data_set.file_meta
    again.file_meta.TransferSyntaxUID = syntax
    file = BytesIO()
    again.save_as(file, enforce_file_format=True)
    return file.getvalue()


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


def _meta(syntax: str) -> bytes:
    """Preamble, mark and group 2."""
    meta = _element("00020002", _MR_STORAGE) + _element("00020003", "1.2.9") + _element("00020010", syntax)
    return bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little") + meta


def _end_of_meta(content: bytes) -> int:
    return 144 + int.from_bytes(content[140:144], "little")


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
