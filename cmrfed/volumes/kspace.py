"""Raw data of a fully sampled Cartesian cine (ISMRMRD, .h5) -> images, by inverse FFT.

Lines are put on the encoded grid around its centre, which leaves what partial Fourier or an asymmetric echo did not
measure at zero; coils are joined by root sum of squares; readout oversampling is cropped.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex64, Float32, Integer

from cmrfed.conditions import UNKNOWN
from cmrfed.config import UserError
from cmrfed.shapes import Volume
from cmrfed.volumes.case import Cine
from cmrfed.volumes.ismrmrd import Heads, read_header, read_heads, read_samples, reading
from cmrfed.volumes.limits import (
    MAX_AXIS,
    MAX_FRAME_VOXELS,
    check_finite,
    check_size,
    check_spacing,
    one_line,
)
from cmrfed.volumes.orientation import orientation_of, to_rows_and_columns, turned_spacing
from cmrfed.volumes.vendors import canonical_vendor

_NOT_IMAGING = sum(1 << (flag - 1) for flag in (19, 20, 23, 24, 26, 27, 28))
"""ISMRMRD's flags of noise, calibration, navigator, phase-correction, feedback, dummy and surface-coil lines."""
_REVERSED = 1 << (22 - 1)


class _Plan(NamedTuple):
    """Matrix and field of view, (readout, phase encoding, slice), as encoded, and the pixels that are kept of it."""

    matrix: tuple[int, int, int]
    field_mm: tuple[float, float, float]
    kept: tuple[int, int]
    centre_line: int
    vendor: str


@dataclass(frozen=True)
class _Lines:
    """Where the lines of every frame are in the file: `rows[frame][slice]`, slices ordered along the normal."""

    heads: Heads
    rows: list[list[Integer[np.ndarray, " line"]]]
    gap_mm: float


def open_kspace(path: Path) -> Cine:
    """Read the headers of a raw-data file. Raises UserError when it is not a 2-D Cartesian cine, or without h5py."""
    with reading(path) as file:
        plan = _read_plan(path, read_header(path, file))
        lines = _sort_lines(path, read_heads(path, file), plan)
    return _cine(path, plan, lines)


def _cine(path: Path, plan: _Plan, lines: _Lines) -> Cine:
    first = lines.heads[lines.rows[0][0][0]]
    axes = np.array([first["read_dir"], first["phase_dir"]], float).T * [[-1.0], [-1.0], [1.0]]
    norms = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(norms).all() and norms.all()):
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
        stored = _reconstruct(path, plan, lines, frame or 0)
        check_finite(stored, path)
        return to_rows_and_columns(stored, orientation)

    def read_all() -> Iterator[Volume]:
        return (read(frame) for frame in range(frames))

    columns, rows = plan.kept[::-1] if orientation.transpose else plan.kept
    return Cine(path, (slices, rows, columns), frames, spacing_mm, orientation, read, read_all, plan.vendor)


def _read_plan(path: Path, header: bytes) -> _Plan:
    """The matrices and fields of view of the first encoding."""
    if b"<!DOCTYPE" in header or b"<!ENTITY" in header:  # entities could expand without end
        raise UserError(f"{path}: its XML header holds declarations that no scanner writes; download the file again")
    try:
        root = ElementTree.fromstring(header)
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: its XML header cannot be read ({one_line(error)}); download the file again") from None
    matrix, field_mm = _space(path, root, "encodedSpace")
    _, recon_mm = _space(path, root, "reconSpace")
    kept = [_kept(matrix[axis], field_mm[axis], recon_mm[axis]) for axis in (0, 1)]
    centre = root.findtext("{*}encoding/{*}encodingLimits/{*}kspace_encoding_step_1/{*}center")
    name = root.findtext("{*}acquisitionSystemInformation/{*}systemVendor") or ""
    return _Plan(matrix, field_mm, (kept[0], kept[1]), int(centre or matrix[1] // 2), _vendor(name, path))


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


def _sort_lines(path: Path, heads: Heads, plan: _Plan) -> _Lines:
    """The imaging lines by frame and slice."""
    index = heads["idx"]
    imaging = (heads["flags"] & np.uint64(_NOT_IMAGING)) == 0
    first_pass = (index["repetition"] == 0) & (index["set"] == 0) & (index["contrast"] == 0)
    used = np.flatnonzero(imaging & first_pass)
    if not used.size or (index["kspace_encode_step_2"][used] != 0).any() or plan.matrix[2] != 1:
        raise UserError(f"{path}: holds no 2-D cine; give a short-axis file")
    slices, phases = np.unique(index["slice"][used]), np.unique(index["phase"][used])
    if len(slices) > MAX_AXIS or len(phases) > MAX_AXIS:
        raise UserError(f"{path}: claims {len(slices)} slices at {len(phases)} phases; download the file again")
    ordered, gap_mm = _order_slices(path, heads, used, slices, plan)
    rows = [[used[(index["phase"][used] == p) & (index["slice"][used] == s)] for s in ordered] for p in phases]
    if any(line.size == 0 for frame in rows for line in frame):
        raise UserError(f"{path}: some slices lack some phases; the file is incomplete, download it again")
    return _Lines(heads, rows, gap_mm)


def _order_slices(
    path: Path,
    heads: Heads,
    used: Integer[np.ndarray, " line"],
    slices: Integer[np.ndarray, " slice"],
    plan: _Plan,
) -> tuple[Integer[np.ndarray, " slice"], float]:
    """Slices along their normal, and the distance between them."""
    firsts = [used[heads["idx"]["slice"][used] == number][0] for number in slices]
    with np.errstate(all="ignore"):
        along_mm = heads["position"][firsts].astype(float) @ heads["slice_dir"][used[0]].astype(float)
    if not np.isfinite(along_mm).all():
        raise UserError(f"{path}: the slices' positions are not numbers; download it again")
    gaps_mm = np.diff(np.sort(along_mm))
    return slices[np.argsort(along_mm)], float(np.median(gaps_mm)) if gaps_mm.size else plan.field_mm[2]


def _reconstruct(path: Path, plan: _Plan, lines: _Lines, frame: int) -> Float32[np.ndarray, "x y slice"]:
    """Magnitude images of one frame."""
    with reading(path) as file:
        images = [_magnitude(_grid(path, file, plan, lines.heads, rows), plan) for rows in lines.rows[frame]]
    return np.stack(images, axis=2)


def _grid(
    path: Path, file: Any, plan: _Plan, heads: Heads, rows: Integer[np.ndarray, " line"]
) -> Complex64[np.ndarray, "coil y x"]:
    """The lines of one image on the encoded grid, zero where nothing was measured, averaged where measured twice."""
    nx, ny, _ = plan.matrix
    coils = int(heads["active_channels"][rows[0]])
    if not 0 < coils * nx * ny <= 2 * MAX_FRAME_VOXELS or (heads["active_channels"][rows] != coils).any():
        raise UserError(f"{path}: claims {coils} coils of {nx} x {ny} samples; download the file again")
    grid = np.zeros((coils, ny, nx), np.complex64)
    times = np.zeros((ny, 1), np.float32)
    for line, samples in zip(rows.tolist(), read_samples(file, heads, rows), strict=True):
        if int(heads["flags"][line]) & _REVERSED:
            samples = samples[:, ::-1]
        row = int(heads["idx"]["kspace_encode_step_1"][line]) - plan.centre_line + ny // 2
        start = nx // 2 - int(heads["center_sample"][line])
        if not (0 <= row < ny and start >= 0 and start + samples.shape[1] <= nx):
            raise UserError(f"{path}: line {row} x {samples.shape[1]} samples lies outside the grid {ny} x {nx}")
        with np.errstate(all="ignore"):  # what comes of absurd samples is checked by whoever reads the frame
            grid[:, row, start : start + samples.shape[1]] += samples
        times[row] += 1
    return grid / np.maximum(times, 1)


def _magnitude(grid: Complex64[np.ndarray, "coil y x"], plan: _Plan) -> Float32[np.ndarray, "kept_x kept_y"]:
    """Root sum of squares of the coils' images, cropped to the reconstructed field of view."""
    with np.errstate(all="ignore"):
        images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(grid, axes=(1, 2))), axes=(1, 2))
        joined = np.sqrt((np.abs(images) ** 2).sum(axis=0)).astype(np.float32)
    (ny, nx), (width, height) = joined.shape, plan.kept
    left, top = nx // 2 - width // 2, ny // 2 - height // 2
    return np.ascontiguousarray(joined[top : top + height, left : left + width].T)
