"""One structure of one stack or slice, as predicted and as a reader drew it, and the scores of how well they agree:
overlap (Dice, Ecology 1945), the robust Hausdorff distance and the average symmetric surface distance.

A structure that neither has is a perfect match; one that only either has is the worst there can be.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

Region = Bool[np.ndarray, "*space"]
"""Of a stack (slice, row, column), or of a single slice (row, column)."""


@dataclass(frozen=True, eq=False)
class RegionPair:
    """Two regions of one shape, and the spacing along each of its axes in mm."""

    predicted: Region
    reference: Region
    spacing_mm: Float[np.ndarray, " axis"]

    @cached_property
    def empty(self) -> tuple[bool, bool]:
        """Whether the predicted and the reference region are empty."""
        return not self.predicted.any(), not self.reference.any()

    @cached_property
    def surface_distances_mm(self) -> tuple[Float[np.ndarray, " there"], Float[np.ndarray, " back"]]:
        """From each voxel on the surface of either region the distance in space to the other's surface.

        Both regions must be there. So an error of one slice in a stack costs the distance between slices.
        """
        first, second = (np.argwhere(surface(region)) * self.spacing_mm for region in (self.predicted, self.reference))
        return KDTree(second).query(first)[0], KDTree(first).query(second)[0]

    @property
    def largest_error_mm(self) -> float:
        """The diagonal of the stack or slice: what a region that was missed, or made up, is charged."""
        return float(np.linalg.norm(self.reference.shape * self.spacing_mm))


def dice(pair: RegionPair) -> float:
    """2 |P and R| / (|P| + |R|) over the voxels of a stack, from 0 to 1."""
    voxels = int(pair.predicted.sum() + pair.reference.sum())
    return 2 * int((pair.predicted & pair.reference).sum()) / voxels if voxels else 1.0


def hd95_mm(pair: RegionPair) -> float:
    """The larger of the two directed 95th percentiles of surface distances; with empty regions as in the BraTS
    challenge, the stack's diagonal being the worst."""
    if any(pair.empty):
        return 0.0 if all(pair.empty) else pair.largest_error_mm
    return max(float(np.percentile(distances, 95)) for distances in pair.surface_distances_mm)


def assd_mm(pair: RegionPair) -> float:
    """The mean over both surfaces' voxels of the distance to the other surface; the stack's diagonal is the worst."""
    if any(pair.empty):
        return 0.0 if all(pair.empty) else pair.largest_error_mm
    return float(np.concatenate(pair.surface_distances_mm).mean())


def surface(region: Region) -> Region:
    """The voxels of a region that have a neighbour outside it, or outside the image."""
    return region & ~binary_erosion(region)
