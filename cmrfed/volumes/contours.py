"""Left-ventricle contours drawn on single images of a DICOM series -> masks.

A contour file is named after the image it belongs to, IM-0001-0048-icontour-manual.txt for the image whose name ends in
0048, and holds a closed polygon as "x y" a line, in pixels from the middle of the first one. The i-contour bounds the
blood, the o-contour the muscle.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.draw import polygon2mask

from cmrfed.conditions import UNLABELLED
from cmrfed.config import UserError, not_readable
from cmrfed.shapes import Label, VolumeMask
from cmrfed.volumes.case import Cine
from cmrfed.volumes.limits import MAX_AXIS
from cmrfed.volumes.orientation import to_rows_and_columns

CONTOUR_NAME = re.compile(r"IM-\d{4}-(\d{4})-([io])contour-manual\.txt", re.IGNORECASE)
MAX_POINTS = 10_000
_MAX_FILE_BYTES = 2**20


class Contours:
    """The contours of one series. Outside the outermost contour nobody has labelled, so a right ventricle may be."""

    def __init__(self, folder: Path, cine: Cine) -> None:
        """Match the folder's contours to the cine's images. Raises UserError when one belongs to none of them."""
        self._cine = cine
        self._places = {
            _image_number(path): (frame, number)
            for frame, files in enumerate(cine.files)
            for number, path in enumerate(files)
        }
        self._paths: dict[tuple[int, int], dict[str, Path]] = {}
        for path in sorted(folder.iterdir()):
            if match := CONTOUR_NAME.fullmatch(path.name):
                self._paths.setdefault(self._place(path, int(match[1])), {})[match[2].lower()] = path
        if not self._paths:
            raise UserError(f"{folder}: holds no contours IM-0001-NNNN-icontour-manual.txt; restore them")

    def _place(self, path: Path, number: int) -> tuple[int, int]:
        if number not in self._places:
            folder = self._cine.path
            raise UserError(f"{path}: no image of {folder} ends in {number:04d}; are the contours another patient's?")
        return self._places[number]

    def mask(self, frame: int | None) -> VolumeMask:
        """Labels (slice, row, column) of one frame: LV, MYO where an outer contour exists, UNLABELLED elsewhere."""
        slices, rows, columns = self._cine.shape
        if self._cine.orientation.transpose:
            rows, columns = columns, rows
        stored = np.full((columns, rows, slices), UNLABELLED, np.uint8)
        for number in range(slices):
            drawn = self._paths.get((frame or 0, number), {})
            stored[:, :, number] = _labels(drawn, (rows, columns)).T
        return to_rows_and_columns(stored, self._cine.orientation)


def _labels(drawn: dict[str, Path], shape: tuple[int, int]) -> UInt8[np.ndarray, "row column"]:
    labels = np.full(shape, UNLABELLED, np.uint8)
    if "i" in drawn:  # an outer contour alone does not tell muscle from blood
        if "o" in drawn:
            labels[_inside(drawn["o"], shape)] = Label.MYO
        labels[_inside(drawn["i"], shape)] = Label.LV
    return labels


def _inside(path: Path, shape: tuple[int, int]) -> Bool[np.ndarray, "row column"]:
    points = read_contour(path)
    return np.asarray(polygon2mask(shape, points[:, ::-1]), bool)


def read_contour(path: Path) -> Float[np.ndarray, "point 2"]:
    """The polygon's points (x, y) in pixels. Raises UserError when the file is not one."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UserError(f"{path}: is larger than any contour; restore the original")
        rows = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
        points = np.array([[float(x), float(y)] for x, y in rows])
    except (OSError, ValueError) as error:
        otherwise = f'{path}: is not a contour ({type(error).__name__}); expected "x y" on each line'
        raise not_readable(path, error, otherwise) from None
    if not 3 <= len(points) <= MAX_POINTS:
        raise UserError(f"{path}: has {len(points)} points; a contour has 3 to {MAX_POINTS}")
    if not (np.isfinite(points).all() and points.min() >= -1 and points.max() <= MAX_AXIS):
        raise UserError(f"{path}: a point lies outside any image; coordinates are pixels from 0 to {MAX_AXIS}")
    return points


def _image_number(path: Path) -> int:
    """The number at the end of an image's name, IM-0003-0048.dcm -> 48; -1 where there is none."""
    match = re.search(r"(\d{1,9})$", path.stem)
    return int(match[1]) if match else -1
