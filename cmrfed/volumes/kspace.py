"""Raw data of a fully sampled Cartesian cine (ISMRMRD, .h5) -> images, by inverse FFT.

Inati et al., "ISMRM Raw data format: A proposed standard for MRI raw datasets", Magnetic Resonance in Medicine 77(1),
2017. Every acquisition of `dataset/data` is one line of k-space with its place in `head.idx`; `dataset/xml` holds the
matrix and the field of view. Lines are put on the encoded grid around its centre, which leaves what partial Fourier or
an asymmetric echo did not measure at zero; coils are joined by root sum of squares; readout oversampling is cropped.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex64, Float32, Int

from cmrfed.config import UserError
from cmrfed.shapes import UNKNOWN, Volume
from cmrfed.volumes.case import Cine
from cmrfed.volumes.limits import MAX_AXIS, MAX_VOXELS, check_finite, check_size, check_spacing, one_line
from cmrfed.volumes.orientation import orientation_of, to_rows_and_columns, turned_spacing
from cmrfed.volumes.vendors import canonical_vendor

_NOT_IMAGING = sum(1 << (flag - 1) for flag in (19, 20, 23, 24, 26, 27, 28))
"""ISMRMRD's flags of noise, calibration, navigator, phase-correction, feedback, dummy and surface-coil lines."""
_REVERSED = 1 << (22 - 1)
_MAX_LINES = 2_000_000
_MAX_HEADER_BYTES = 2**20


class _Plan(NamedTuple):
    """Matrix and field of view, (readout, phase encoding, slice), as encoded and as reconstructed."""

    matrix: tuple[int, int, int]
    field_mm: tuple[float, float, float]
    kept: tuple[int, int]
    centre_line: int
    vendor: str


@dataclass(frozen=True)
class _Lines:
    """Where the lines of every frame are in the file: `rows[frame][slice]`, slices ordered along the normal."""

    rows: list[list[Int[np.ndarray, " line"]]]
    first: Any
    gap_mm: float


def open_kspace(path: Path) -> Cine:
    """Read the headers of a raw-data file. Raises UserError when it is not a 2-D Cartesian cine, or without h5py."""
    h5py = _h5py(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the data folder and that the download is complete")
    try:
        with h5py.File(path, "r") as file:
            plan = _read_plan(path, file["dataset/xml"])
            lines = _read_lines(path, file["dataset/data"], plan)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: not a readable ISMRMRD file ({one_line(error)}); download it again") from None
    return _cine(path, plan, lines)


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path}: raw data is read with h5py; install it with pip install 'cmrfed[ocmr]'") from None
    return h5py


def _cine(path: Path, plan: _Plan, lines: _Lines) -> Cine:
    axes = np.array([lines.first["read_dir"], lines.first["phase_dir"]], float).T * [[-1.0], [-1.0], [1.0]]
    norms = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(axes).all() and norms.all()):
        raise UserError(f"{path}: the acquisition's directions point nowhere; download it again")
    orientation = orientation_of(axes / norms)
    stored_mm = (plan.field_mm[0] / plan.matrix[0], plan.field_mm[1] / plan.matrix[1], lines.gap_mm)
    spacing_mm = turned_spacing(stored_mm, orientation)
    check_spacing(spacing_mm, path)
    frames, slices = len(lines.rows), len(lines.rows[0])
    check_size((*plan.kept, slices, frames), 4, path)

    def read(frame: int | None) -> Volume:
        if not 0 <= (frame or 0) < frames or (frame is None and frames > 1):
            raise UserError(f"{path}: frame {frame} is out of range; the file holds frames 0 to {frames - 1}")
        stored = _reconstruct(path, plan, lines.rows[frame or 0])
        check_finite(stored, path)
        return to_rows_and_columns(stored, orientation)

    def read_all() -> Iterator[Volume]:
        return (read(frame) for frame in range(frames))

    columns, rows = plan.kept[::-1] if orientation.transpose else plan.kept
    return Cine(path, (slices, rows, columns), frames, spacing_mm, orientation, read, read_all, plan.vendor)


def _read_plan(path: Path, text: Any) -> _Plan:
    """The matrices and fields of view of the first encoding."""
    if text.dtype.itemsize > _MAX_HEADER_BYTES:
        raise UserError(f"{path}: its XML header is larger than 1 MiB; download the file again")
    header = text[0] if text.shape else text[()]
    content = header if isinstance(header, bytes) else str(header).encode()
    if len(content) > _MAX_HEADER_BYTES or b"<!" in content.replace(b"<!--", b""):  # entities could expand without end
        raise UserError(f"{path}: its XML header holds declarations that no scanner writes; download the file again")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: its XML header cannot be read ({one_line(error)}); download the file again") from None
    encoded, recon = (_space(path, root, space) for space in ("encodedSpace", "reconSpace"))
    limits = "{*}encoding/{*}encodingLimits/{*}kspace_encoding_step_1/{*}center"
    matrix, field_mm = encoded
    kept = [_kept(matrix[axis], field_mm[axis], recon[1][axis]) for axis in (0, 1)]
    name = root.findtext("{*}acquisitionSystemInformation/{*}systemVendor") or ""
    return _Plan(
        matrix=matrix,
        field_mm=field_mm,
        kept=(kept[0], kept[1]),
        centre_line=int(root.findtext(limits) or matrix[1] // 2),
        vendor=_vendor(name, path),
    )


def _vendor(name: str, path: Path) -> str:
    try:
        return canonical_vendor(name, path)
    except UserError:
        return UNKNOWN


def _space(
    path: Path, root: ElementTree.Element, space: str
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    def numbers(what: str) -> list[float]:
        return [float(root.findtext(f"{{*}}encoding/{{*}}{space}/{{*}}{what}/{{*}}{axis}") or "nan") for axis in "xyz"]

    matrix, field_mm = numbers("matrixSize"), numbers("fieldOfView_mm")
    if not all(1 <= size <= 2 * MAX_AXIS for size in matrix) or not all(0 < mm < 5000 for mm in field_mm):
        raise UserError(f"{path}: {space} has matrix {matrix} and field of view {field_mm} mm; download the file again")
    nx, ny, nz = (int(size) for size in matrix)
    return (nx, ny, nz), (field_mm[0], field_mm[1], field_mm[2])


def _kept(size: int, field_mm: float, recon_mm: float) -> int:
    """How many of an axis's pixels lie inside the reconstructed field of view; the rest is oversampling."""
    return max(1, min(size, round(size * recon_mm / field_mm)))


def _read_lines(path: Path, data: Any, plan: _Plan) -> _Lines:
    if len(data) > _MAX_LINES:
        raise UserError(f"{path}: holds {len(data)} lines; at most {_MAX_LINES} are read")
    head = data["head"]
    index = head["idx"]
    imaging = (head["flags"] & np.uint64(_NOT_IMAGING)) == 0
    first_pass = (index["repetition"] == 0) & (index["set"] == 0) & (index["contrast"] == 0)
    used = np.flatnonzero(imaging & first_pass)
    if not used.size or (index["kspace_encode_step_2"][used] != 0).any() or plan.matrix[2] != 1:
        raise UserError(f"{path}: holds no 2-D cine; give a short-axis file")
    slices, phases = np.unique(index["slice"][used]), np.unique(index["phase"][used])
    if len(slices) > MAX_AXIS or len(phases) > MAX_AXIS:
        raise UserError(f"{path}: claims {len(slices)} slices at {len(phases)} phases; download the file again")
    ordered, gap_mm = _order_slices(path, head, used, slices, plan)
    rows = [[used[(index["phase"][used] == p) & (index["slice"][used] == s)] for s in ordered] for p in phases]
    if any(line.size == 0 for frame in rows for line in frame):
        raise UserError(f"{path}: some slices lack some phases; the file is incomplete, download it again")
    return _Lines(rows, head[used[0]], gap_mm)


def _order_slices(
    path: Path, head: Any, used: Int[np.ndarray, " line"], slices: Int[np.ndarray, " slice"], plan: _Plan
) -> tuple[Int[np.ndarray, " slice"], float]:
    """Slices along their normal, and the distance between them."""
    firsts = [used[head["idx"]["slice"][used] == number][0] for number in slices]
    along_mm = head["position"][firsts].astype(float) @ head["slice_dir"][used[0]].astype(float)
    if not np.isfinite(along_mm).all():
        raise UserError(f"{path}: the slices' positions are not numbers; download it again")
    gaps_mm = np.diff(np.sort(along_mm))
    return slices[np.argsort(along_mm)], float(np.median(gaps_mm)) if gaps_mm.size else plan.field_mm[2]


def _reconstruct(path: Path, plan: _Plan, rows: list[Int[np.ndarray, " line"]]) -> Float32[np.ndarray, "x y slice"]:
    """Magnitude images of one frame."""
    try:
        with _h5py(path).File(path, "r") as file:
            return np.stack([_magnitude(_grid(path, file["dataset/data"][line], plan), plan) for line in rows], axis=2)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
        raise UserError(f"{path}: lines cannot be read ({one_line(error)}); download the file again") from None


def _grid(path: Path, lines: Any, plan: _Plan) -> Complex64[np.ndarray, "coil y x"]:
    """The lines of one image on the encoded grid, zero where nothing was measured, averaged where measured twice."""
    nx, ny, _ = plan.matrix
    coils = int(lines["head"]["active_channels"][0])
    if not 0 < coils * nx * ny <= MAX_VOXELS:
        raise UserError(f"{path}: claims {coils} coils of {nx} x {ny} samples; download the file again")
    grid = np.zeros((coils, ny, nx), np.complex64)
    times = np.zeros((ny, 1), np.float32)
    for line in lines:
        head = line["head"]
        samples = line["data"].view(np.complex64).reshape(coils, int(head["number_of_samples"]))
        if int(head["flags"]) & _REVERSED:
            samples = samples[:, ::-1]
        row = int(head["idx"]["kspace_encode_step_1"]) - plan.centre_line + ny // 2
        start = nx // 2 - int(head["center_sample"])
        if not (0 <= row < ny and start >= 0 and start + samples.shape[1] <= nx):
            raise UserError(f"{path}: line {row} x {samples.shape[1]} samples lies outside the grid {ny} x {nx}")
        grid[:, row, start : start + samples.shape[1]] += samples
        times[row] += 1
    return grid / np.maximum(times, 1)


def _magnitude(grid: Complex64[np.ndarray, "coil y x"], plan: _Plan) -> Float32[np.ndarray, "kept_x kept_y"]:
    """Root sum of squares of the coils' images, cropped to the reconstructed field of view."""
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(grid, axes=(1, 2))), axes=(1, 2))
    joined = np.sqrt((np.abs(images) ** 2).sum(axis=0)).astype(np.float32)
    (ny, nx), (width, height) = joined.shape, plan.kept
    left, top = nx // 2 - width // 2, ny // 2 - height // 2
    return np.ascontiguousarray(joined[top : top + height, left : left + width].T)
