"""The average symmetric surface distance: the mean over both surfaces' voxels of the distance to the other surface."""

import numpy as np

from cmrfed.evaluation.utility.metrics.regions import RegionPair


def assd_mm(pair: RegionPair) -> float:
    """In mm; 0 when both regions are empty, the stack's diagonal when only one is."""
    if any(pair.empty):
        return 0.0 if all(pair.empty) else pair.largest_error_mm
    return float(np.concatenate(pair.surface_distances_mm).mean())
