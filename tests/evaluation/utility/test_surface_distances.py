"""HD95 and ASSD, by hand, against every pair of surface voxels, and against MONAI's."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.distance import cdist

from cmrfed.evaluation.utility.metrics.regions import RegionPair, assd_mm, hd95_mm

SPACING_MM = np.array([10.0, 2.0, 1.0])


def cube(slices=slice(0, 3), rows=slice(2, 6), columns=slice(2, 6)):
    region = np.zeros((4, 16, 16), bool)
    region[slices, rows, columns] = True
    return region


def surface(region):
    return np.argwhere(region & ~binary_erosion(region)) * SPACING_MM


@pytest.mark.parametrize(("axis", "millimetres"), [(1, 2.0), (2, 1.0)])
def test_distances_are_in_millimetres_along_each_axis(axis, millimetres):
    """Shifted by three pixels, the nearest surface is at most three pixels' spacing away, and is at the far edge."""
    pair = RegionPair(np.roll(cube(), 3, axis=axis), cube(), SPACING_MM)
    assert hd95_mm(pair) == pytest.approx(3 * millimetres)


def test_a_missed_slice_costs_the_distance_between_slices():
    assert hd95_mm(RegionPair(cube(slice(0, 2)), cube(slice(0, 3)), SPACING_MM)) == pytest.approx(10.0)


@pytest.mark.parametrize("distance", [hd95_mm, assd_mm])
def test_two_points_are_their_distance_apart(distance):
    first, second = np.zeros((2, 3, 16, 16), bool)
    first[0, 3, 4] = second[2, 6, 12] = True
    assert distance(RegionPair(first, second, SPACING_MM)) == pytest.approx(math.hypot(20, 6, 8))


@pytest.mark.parametrize("distance", [hd95_mm, assd_mm])
def test_nothing_in_both_is_a_match_and_in_only_one_costs_the_diagonal(distance):
    nothing, diagonal = np.zeros_like(cube()), math.hypot(4 * 10, 16 * 2, 16 * 1)
    assert distance(RegionPair(nothing, nothing, SPACING_MM)) == 0.0
    assert distance(RegionPair(nothing, cube(), SPACING_MM)) == pytest.approx(diagonal)
    assert distance(RegionPair(cube(), nothing, SPACING_MM)) == pytest.approx(diagonal)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), density=st.floats(0.02, 0.6))
def test_distances_are_those_between_all_pairs_of_surface_voxels(seed, density):
    random = np.random.default_rng(seed)
    first, second = random.random((2, 3, 9, 9)) < density
    first[1, 4, 4] = second[1, 4, 5] = True
    between = cdist(surface(first), surface(second))
    there, back = between.min(axis=1), between.min(axis=0)
    pair = RegionPair(first, second, SPACING_MM)
    assert assd_mm(pair) == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)
    assert hd95_mm(pair) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_monais(seed):
    """Of regions as smooth as segmentations are, at the edge of the stack too."""
    random = np.random.default_rng(seed)
    first, second = (gaussian_filter(random.normal(size=(4, 16, 16)), 1.5) > 0 for _ in range(2))
    one, other = (torch.from_numpy(region)[None, None] for region in (first, second))
    spacing = SPACING_MM.tolist()
    pair = RegionPair(first, second, SPACING_MM)
    monai_hd95 = compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=spacing)
    monai_assd = compute_average_surface_distance(one, other, include_background=True, symmetric=True, spacing=spacing)
    assert hd95_mm(pair) == pytest.approx(float(monai_hd95), rel=1e-5)
    assert assd_mm(pair) == pytest.approx(float(monai_assd), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_distances_in_a_single_slice_are_monais(seed):
    random = np.random.default_rng(seed)
    first, second = (gaussian_filter(random.normal(size=(24, 24)), 2) > 0.05 for _ in range(2))
    pair = (torch.from_numpy(region)[None, None] for region in (first, second))
    expected = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=[1.5, 2.5])
    assert hd95_mm(RegionPair(first, second, np.array([1.5, 2.5]))) == pytest.approx(float(expected))
