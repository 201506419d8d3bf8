"""Overlap, against its definition."""

import numpy as np
import pytest

from cmrfed.evaluation.utility.metrics.regions import RegionPair, dice

SPACING_MM = np.array([10.0, 2.0, 1.0])


def region(*voxels):
    found = np.zeros((3, 8, 8), bool)
    for voxel in voxels:
        found[voxel] = True
    return found


@pytest.mark.parametrize(
    ("predicted", "reference", "expected"),
    [
        (region((0, 1, 1)), region((0, 1, 1)), 1.0),
        (region((0, 1, 1), (1, 1, 1)), region((0, 1, 1)), 2 / 3),
        (region((0, 1, 1), (1, 1, 1)), region((0, 1, 1), (2, 1, 1)), 0.5),
        (region((0, 1, 1)), region((0, 1, 2)), 0.0),
        (region(), region(), 1.0),
        (region((0, 1, 1)), region(), 0.0),
        (region(), region((0, 1, 1)), 0.0),
    ],
)
def test_dice_is_twice_the_shared_voxels_over_all_of_the_stack(predicted, reference, expected):
    assert dice(RegionPair(predicted, reference, SPACING_MM)) == pytest.approx(expected)
