"""The robust Hausdorff distance: the larger of the two directed 95th percentiles of surface distances."""

import numpy as np

from cmrfed.evaluation.utility.metrics.regions import RegionPair


def hd95_mm(pair: RegionPair) -> float:
    """In mm. Like the BraTS challenge: 0 when both regions are empty, the stack's diagonal when only one is."""
    if any(pair.empty):
        return 0.0 if all(pair.empty) else pair.largest_error_mm
    return max(float(np.percentile(distances, 95)) for distances in pair.surface_distances_mm)
