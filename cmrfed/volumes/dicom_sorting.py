"""The images of one study -> the frames of one short-axis stack, or one line that says why that cannot be decided.

The stack is the largest group of parallel slices of one pixel grid. A study holds more than that stack: copies of
files, views of other planes, and the same images as the scanner stored them a second time, with other corrections.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cmrfed.config import UserError
from cmrfed.volumes.dicom_file import DicomImage

SAME_POSITION_MM = 0.1
"""Slices closer than this are one slice at different times."""
UNEVEN = 0.2
"""Gaps between slices may differ by this share of their median: breath-holds differ, a missing slice doubles one."""
PARALLEL = 0.995
"""Cosine between the normals of planes that belong together (within six degrees)."""

DicomSlices = list[DicomImage]


def frames_of(folder: Path, images: Sequence[DicomImage], left_out: Counter[str]) -> list[DicomSlices]:
    """The stack as `[frame][slice]`: slices along the plane's normal, frames in time.

    Counts in `left_out` what is not of it. Raises UserError when there is no stack, when there are several, when slices
    or frames are missing, and when nothing tells which images to take or their order.
    """
    stack = _stack(folder, _without_copies(images, left_out), left_out)
    _refuse_aside(folder, stack)
    positions = [_best_version(folder, number, own, left_out) for number, own in enumerate(_positions(stack))]
    counts = Counter(len(own) for own in positions)
    usual = counts.most_common(1)[0][0]
    for number, own in enumerate(positions):
        _refuse_several_series(folder, number, own)
        if len(own) != usual:
            raise UserError(
                f"{folder}: slice {number} has {len(own)} frames, the others have {usual}{found(left_out)}; "
                "remove repeats or copy the missing files"
            )
    ordered = (_in_time(folder, number, own) for number, own in enumerate(positions))
    return [list(frame) for frame in zip(*ordered, strict=True)]


def slice_gap_mm(folder: Path, frame: Sequence[DicomImage]) -> float:
    """Distance between slices, by their positions: a slice's thickness leaves out the gap between two."""
    if len(frame) == 1:
        stated = frame[0].stated_gap_mm
        if stated is None:
            raise UserError(f"{folder}: holds one slice that states no thickness; give the whole short-axis stack")
        return abs(stated)
    gaps_mm = np.diff(_along_normal_mm(frame))
    middle_mm = float(np.median(gaps_mm))
    if np.abs(gaps_mm - middle_mm).max() > UNEVEN * middle_mm:
        raise UserError(
            f"{folder}: distances between slices run from {gaps_mm.min():.1f} to {gaps_mm.max():.1f} mm; "
            "a slice is missing or two stacks are mixed, export one even stack"
        )
    return middle_mm


def counted(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in left_out.most_common())


def found(left_out: Counter[str]) -> str:
    return f" (found {counted(left_out)})" if left_out else ""


def _without_copies(images: Sequence[DicomImage], left_out: Counter[str]) -> DicomSlices:
    """Each image once. A copy is what has the same pixels, place and time: its SOPInstanceUID need not be the same,
    since exports give new ones, nor tell two images apart, since some tools write one for all.
    """
    sizes = Counter(one.series for one in images)
    first: dict[tuple[object, ...], DicomImage] = {}
    # those of the fullest series stay, so that no slice is left with images of two; "IM-0001 (1).dcm" is the copy
    for one in sorted(images, key=lambda one: (-sizes[one.series], one.series, len(one.path.name))):
        first.setdefault((one.digest, one.position_mm, one.image_type, one.trigger_ms), one)
    if len(first) < len(images):
        left_out["copy of another file"] += len(images) - len(first)
    return list(first.values())


def _stack(folder: Path, images: Sequence[DicomImage], left_out: Counter[str]) -> DicomSlices:
    """The images of the largest stack; what lies across it on one or two positions is left out."""
    ranked = sorted(_alike(images), key=lambda group: (len(_positions(group)), len(group)), reverse=True)
    if not ranked:
        raise UserError(f"{folder}: holds no MR image{found(left_out)}; export the short-axis series as DICOM")
    stack, *others = ranked
    if others and len(_positions(stack)) == 1:
        raise UserError(f"{folder}: holds {len(ranked)} single views and no stack of parallel slices; keep one")
    for other in others:
        if abs(np.dot(other[0].normal, stack[0].normal)) > PARALLEL:
            raise UserError(f"{folder}: holds {_described(stack)} and {_described(other)}; keep one size and spacing")
        if len(_positions(other)) > 2:
            raise UserError(
                f"{folder}: holds stacks in two orientations, {_described(stack)} and {_described(other)}; "
                "keep the short-axis one"
            )
        left_out["image of another view"] += len(other)
    return stack


def _alike(images: Sequence[DicomImage]) -> list[DicomSlices]:
    """Groups of images with one pixel grid but for its position."""
    groups: list[DicomSlices] = []
    for one in images:
        alike = next((group for group in groups if _is_alike(group[0], one)), None)
        if alike is None:
            groups.append([one])
        else:
            alike.append(one)
    return groups


def _is_alike(one: DicomImage, other: DicomImage) -> bool:
    return (
        one.size == other.size
        and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3)
        and np.allclose([*one.row, *one.column], [*other.row, *other.column], atol=0.02)
    )


def _described(group: DicomSlices) -> str:
    columns, rows = group[0].size
    across, down = group[0].spacing_mm
    return f"{len(_positions(group))} slices of {rows} x {columns} pixels of {down:g} x {across:g} mm"


def _along_normal_mm(group: Sequence[DicomImage]) -> Float[np.ndarray, " image"]:
    return np.array([one.position_mm for one in group]) @ group[0].normal


def _positions(group: DicomSlices) -> list[DicomSlices]:
    """The images of each slice, slices along the plane's normal."""
    along_mm = _along_normal_mm(group)
    order = np.argsort(along_mm, kind="stable")
    cuts = np.flatnonzero(np.diff(along_mm[order]) > SAME_POSITION_MM) + 1
    return [[group[index] for index in part] for part in np.split(order, cuts)]


def _refuse_aside(folder: Path, stack: DicomSlices) -> None:
    """Refuse an image that lies beside the stack by a pixel or more: stacked, its heart would jump."""
    in_plane_mm = np.array([one.position_mm for one in stack]) @ np.array([stack[0].row, stack[0].column]).T
    aside_mm = np.abs(in_plane_mm - np.median(in_plane_mm, axis=0)).max(axis=1)
    worst = int(aside_mm.argmax())
    if aside_mm[worst] > max(stack[0].spacing_mm):
        raise UserError(
            f"{folder}: {_name(folder, stack[worst])} lies {aside_mm[worst]:.1f} mm aside of the other slices in its "
            "own plane, planned anew; leave that slice out or resample all to one straight stack"
        )


def _best_version(folder: Path, number: int, images: DicomSlices, left_out: Counter[str]) -> DicomSlices:
    """Of a slice that the scanner stored in several versions (image types), the most corrected one."""
    versions: defaultdict[tuple[str, ...], DicomSlices] = defaultdict(list)
    for one in images:
        versions[one.image_type].append(one)
    best, *others = sorted(versions, key=_rank, reverse=True)
    for other in others:
        if _rank(other) == _rank(best):
            raise UserError(
                f"{folder}: slice {number} is there as {_typed(folder, versions[best])} and as "
                f"{_typed(folder, versions[other])}; keep one of the two"
            )
        left_out[f"image that is there better corrected ({_joined(other)})"] += len(versions[other])
    return versions[best]


def _rank(image_type: tuple[str, ...]) -> tuple[bool, bool, bool]:
    """Higher is better: as acquired, corrected for the gradients' distortion, normalised for the coils' shading."""
    return "DERIVED" not in image_type, not {"DIS2D", "DIS3D"}.isdisjoint(image_type), "NORM" in image_type


def _refuse_several_series(folder: Path, number: int, images: DicomSlices) -> None:
    """Refuse a slice of two series, which was scanned twice. A series a frame is one cine, if it tells the time."""
    series: dict[str, DicomSlices] = {}
    for one in images:
        series.setdefault(one.series, []).append(one)
    one_frame_each = len(series) == len(images) and _all_differ([one.trigger_ms for one in images])
    if len(series) > 1 and not one_frame_each:
        first, second = list(series.values())[:2]
        raise UserError(
            f"{folder}: slice {number} has {len(images)} frames from {len(series)} series ({_name(folder, first[0])} "
            f"is of one, {_name(folder, second[0])} of another); keep one series"
        )


def _in_time(folder: Path, number: int, images: DicomSlices) -> DicomSlices:
    """The files of one slice by trigger time, or by instance number where not all tell a time or all tell the same."""
    times, numbers = [one.trigger_ms for one in images], [one.number for one in images]
    if len(images) == 1:
        return images
    if _all_differ(times):
        return _sorted(images, lambda one: one.trigger_ms)
    if None not in times and len(set(times)) > 1:
        time = Counter(times).most_common(1)[0][0]
        names = ", ".join(_name(folder, one) for one in images if one.trigger_ms == time)
        raise UserError(f"{folder}: slice {number} has two images at {time:g} ms ({names}); keep one")
    if _all_differ(numbers):
        return _sorted(images, lambda one: one.number)
    raise UserError(
        f"{folder}: the {len(images)} images of slice {number} tell neither different trigger times nor different "
        "instance numbers, so their order is unknown; export them with TriggerTime or InstanceNumber"
    )


def _all_differ(values: Sequence[float | None]) -> bool:
    return None not in values and len(set(values)) == len(values)


def _sorted(images: DicomSlices, key: Callable[[DicomImage], float | None]) -> DicomSlices:
    return sorted(images, key=lambda one: key(one) or 0.0)


def _typed(folder: Path, images: DicomSlices) -> str:
    return f"{_joined(images[0].image_type)} ({_name(folder, images[0])})"


def _joined(image_type: tuple[str, ...]) -> str:
    return "\\".join(image_type)


def _name(folder: Path, one: DicomImage) -> str:
    return str(one.path.relative_to(folder))
