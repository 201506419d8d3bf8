"""The overlap of two regions (Dice, Ecology 1945): 2 |P and R| / (|P| + |R|)."""

from cmrfed.evaluation.utility.metrics.regions import RegionPair


def dice(pair: RegionPair) -> float:
    """Over the voxels of a stack, from 0 to 1; 1 when both regions are empty, 0 when only one is."""
    voxels = int(pair.predicted.sum() + pair.reference.sum())
    return 2 * int((pair.predicted & pair.reference).sum()) / voxels if voxels else 1.0
