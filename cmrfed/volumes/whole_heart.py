"""A labelled whole-heart volume, cut across the left ventricle's long axis as a short-axis stack would be.

The long axis is the principal axis of the ventricle's blood, signed from the left atrium to the apex. Slices are 8 mm
apart, linear in the image and nearest in the labels. A true short-axis slice averages over its thickness; this one does
not, so its walls are sharper than a scanner's.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from jaxtyping import Float, Shaped

from cmrfed.config import UserError
from cmrfed.shapes import STRUCTURES, Volume, VolumeMask
from cmrfed.volumes.case import Entry, LongAxis
from cmrfed.volumes.limits import check_finite, check_spacing
from cmrfed.volumes.nifti import open_image, read_labels, read_stored, stored_spacing_mm, translated
from cmrfed.volumes.orientation import LEFT, POSTERIOR_INFERIOR

SLICE_MM = 8.0
"""Distance between slices, the one most short-axis protocols use."""
FIELD_MM = 240.0
"""Width of the cut: the ventricles, and as much around them as the common grid may ask for."""


def cut_short_axis(entry: Entry) -> tuple[Volume, VolumeMask, tuple[float, float, float]]:
    """Read a whole-heart image and its labels and cut both into a short-axis stack, from base to apex.

    Returns the image and mask (slice, row, column) and the spacing in mm. Outside the volume the image has its
    minimum. Raises UserError when the files do not match, or the ventricle or atrium is not labelled.
    """
    axis, mask_path = entry.long_axis, entry.mask_path
    if axis is None or mask_path is None:
        raise UserError(f"{entry.image_path}: the long axis is found from the labels; give a mask and their numbers")
    image_file, mask_file = open_image(entry.image_path), open_image(mask_path)
    if image_file.shape != mask_file.shape or not np.allclose(image_file.affine, mask_file.affine, atol=1e-2):
        raise UserError(f"{mask_path}: lies on another grid than its image {entry.image_path.name}")
    numbers = read_labels(mask_path, mask_file, None)
    labels = translated(mask_path, numbers, entry.labels)
    voxels = read_stored(entry.image_path, image_file, None).astype(np.float32)
    check_finite(voxels, entry.image_path)
    pixel_mm = min(stored_spacing_mm(image_file)[:2])
    spacing_mm = (SLICE_MM, pixel_mm, pixel_mm)
    check_spacing(spacing_mm, entry.image_path)
    affine = np.asarray(image_file.affine, float)
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UserError(f"{entry.image_path}: the affine is flat; correct the header's sform and qform")
    normal = _long_axis(mask_path, axis, affine, numbers)
    to_voxels, slices = _plane(affine, normal, np.isin(labels, STRUCTURES), pixel_mm)
    size = (slices, round(FIELD_MM / pixel_mm), round(FIELD_MM / pixel_mm))
    image = _resample(voxels, to_voxels, size, sitk.sitkLinear, float(voxels.min()))
    return image, _resample(labels, to_voxels, size, sitk.sitkNearestNeighbor, 0.0), spacing_mm


def _plane(
    affine: Float[np.ndarray, "4 4"],
    normal: Float[np.ndarray, " 3"],
    ventricles: Shaped[np.ndarray, "x y z"],
    pixel_mm: float,
) -> tuple[Float[np.ndarray, "4 4"], int]:
    """The affine from (column, row, slice) of the cut to stored voxels, and the number of slices."""
    column = _unit(LEFT - (LEFT @ normal) * normal)
    row = np.cross(normal, column)
    row *= 1 if row @ POSTERIOR_INFERIOR > 0 else -1
    heart_mm = _world_mm(affine, ventricles) @ np.array([column, row, normal]).T
    low, high = heart_mm.min(axis=0), heart_mm.max(axis=0)
    slices = int(np.ceil((high[2] - low[2]) / SLICE_MM)) + 1
    centre = (low + high) / 2
    corner = centre - [(FIELD_MM - pixel_mm) / 2, (FIELD_MM - pixel_mm) / 2, (slices - 1) * SLICE_MM / 2]
    world = np.eye(4)
    world[:3, :3] = np.stack([column * pixel_mm, row * pixel_mm, normal * SLICE_MM], axis=1)
    world[:3, 3] = corner @ np.array([column, row, normal])
    return np.linalg.inv(affine) @ world, slices


def _long_axis(
    path: Path, axis: LongAxis, affine: Float[np.ndarray, "4 4"], numbers: Shaped[np.ndarray, "x y z"]
) -> Float[np.ndarray, " 3"]:
    """The unit direction from base to apex in nibabel's frame."""
    blood, atrium = (_world_mm(affine, np.isin(numbers, labels)) for labels in axis)
    for name, points, labels in (("left ventricle", blood, axis.ventricle), ("left atrium", atrium, axis.atrium)):
        if len(points) < 10:
            raise UserError(f"{path}: the {name} ({labels[0]}) is not labelled, so the long axis is unknown")
    _, _, directions = np.linalg.svd(blood[:: len(blood) // 20_000 + 1] - blood.mean(axis=0), full_matrices=False)
    long_axis: Float[np.ndarray, " 3"] = directions[0]
    return long_axis if long_axis @ (blood.mean(axis=0) - atrium.mean(axis=0)) > 0 else -long_axis


def _world_mm(affine: Float[np.ndarray, "4 4"], chosen: Shaped[np.ndarray, "x y z"]) -> Float[np.ndarray, "point 3"]:
    return np.argwhere(chosen) @ affine[:3, :3].T + affine[:3, 3]


def _unit(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    return vector / np.linalg.norm(vector)


def _resample(
    stored: Shaped[np.ndarray, "x y z"],
    to_voxels: Float[np.ndarray, "4 4"],
    size: tuple[int, int, int],
    interpolator: int,
    outside: float,
) -> Shaped[np.ndarray, "slice row column"]:
    """The cut, in voxel coordinates throughout, so that any affine will do."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(to_voxels[:3, :3].ravel().tolist())
    transform.SetTranslation(to_voxels[:3, 3].tolist())
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.T))
    cut = sitk.Resample(
        image, size[::-1], transform, interpolator, (0.0,) * 3, (1.0,) * 3, image.GetDirection(), outside
    )
    return np.asarray(sitk.GetArrayFromImage(cut))
