"""Radiomic features against PyRadiomics' own values, and against plain loops over pixels."""

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label
from skimage.feature import graycomatrix

from cmrfed.evaluation.fidelity.metrics.radiomics import Radiomics, grey_levels, radiomic_features, standardised
from cmrfed.evaluation.fidelity.metrics.radiomics.cooccurrence import cooccurrence
from cmrfed.evaluation.fidelity.metrics.radiomics.neighbourhood import neighbourhood
from cmrfed.evaluation.fidelity.metrics.radiomics.runs import run_lengths
from cmrfed.evaluation.fidelity.metrics.radiomics.zones import size_zones

LEVELS = arrays(np.int64, st.tuples(st.just(2), st.integers(3, 7), st.integers(3, 7)), elements=st.integers(1, 5))


def test_every_feature_is_pyradiomics_own():
    """The values are of PyRadiomics 3.1, with the recipe's settings, on this very image."""
    row, column = np.mgrid[0:16, 0:16]
    image = np.round(127 + 60 * np.sin(row / 3) * np.cos(column / 2) + 25 * np.sin(7 * row * column))
    expected = json.loads((Path(__file__).parent / "pyradiomics.json").read_text())
    found = radiomic_features(image[None])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, rel=1e-6, abs=1e-7), name


def test_an_image_has_the_same_features_in_any_batch_and_at_any_brightness():
    images = np.random.default_rng(0).integers(0, 100, (3, 16, 16)).astype(np.float64)
    alone, together = radiomic_features(images[1:2]), radiomic_features(images)
    brighter = radiomic_features(2 * images[1:2] + 40)
    for name in alone:
        assert together[name][1] == pytest.approx(alone[name][0], rel=1e-9, abs=1e-9), name
        assert brighter[name][0] == pytest.approx(alone[name][0], rel=1e-6, abs=1e-6), name


@settings(max_examples=25, deadline=None)
@given(levels=LEVELS)
def test_cooccurrence_sums_the_matrix(levels):
    found = cooccurrence(levels)
    i, j = np.mgrid[1:6, 1:6]
    for number, image in enumerate(levels):
        # scikit-image counts rows downwards: these are its four neighbours at a distance of one pixel
        cells = graycomatrix(image - 1, [1], np.arange(4) * np.pi / 4, levels=5, symmetric=True, normed=True)[:, :, 0]
        contrast = np.mean([(cells[..., d] * (i - j) ** 2).sum() for d in range(4)])
        energy = np.mean([(cells[..., d] ** 2).sum() for d in range(4)])
        entropy = np.mean([-(p := cells[..., d][cells[..., d] > 0]) @ np.log2(p) for d in range(4)])
        assert found["Contrast"][number] == pytest.approx(contrast)
        assert found["JointEnergy"][number] == pytest.approx(energy)
        assert found["JointEntropy"][number] == pytest.approx(entropy, abs=1e-12)


def runs_of(lines):
    return [(level, len(list(run))) for line in lines for level, run in groupby(line)]


@settings(max_examples=25, deadline=None)
@given(levels=LEVELS)
def test_runs_are_straight_and_of_one_level(levels):
    found = run_lengths(levels)
    for number, image in enumerate(levels):
        rows, columns = image.shape
        directions = [
            image,
            image.T,
            [image.diagonal(k) for k in range(-rows + 1, columns)],
            [image[::-1].diagonal(k) for k in range(-rows + 1, columns)],
        ]
        runs = [np.array(runs_of(lines)) for lines in directions]
        short = np.mean([(1 / own[:, 1] ** 2).mean() for own in runs])
        share = np.mean([len(own) / image.size for own in runs])
        high = np.mean([(own[:, 0] ** 2 * own[:, 1] ** 2).mean() for own in runs])
        assert found["ShortRunEmphasis"][number] == pytest.approx(short)
        assert found["RunPercentage"][number] == pytest.approx(share)
        assert found["LongRunHighGrayLevelEmphasis"][number] == pytest.approx(high)


@settings(max_examples=25, deadline=None)
@given(levels=LEVELS)
def test_zones_are_connected_areas_of_one_level(levels):
    found = size_zones(levels)
    for number, image in enumerate(levels):
        zones = [
            (level, size)
            for level in np.unique(image)
            for size in np.bincount(label(image == level, np.ones((3, 3)))[0].ravel())[1:]
        ]
        level, size = np.array(zones).T
        assert found["ZonePercentage"][number] == pytest.approx(len(zones) / image.size)
        assert found["LargeAreaEmphasis"][number] == pytest.approx((size**2).mean())
        assert found["SmallAreaLowGrayLevelEmphasis"][number] == pytest.approx((1 / (level * size) ** 2).mean())


@settings(max_examples=25, deadline=None)
@given(levels=LEVELS)
def test_neighbourhood_differences_leave_out_what_is_outside(levels):
    found = neighbourhood(levels)
    for number, image in enumerate(levels):
        share, sums = np.zeros(6), np.zeros(6)
        for (row, column), level in np.ndenumerate(image):
            around = image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            mean = (around.sum() - level) / (around.size - 1)
            share[level] += 1 / image.size
            sums[level] += abs(level - mean)
        weighted = share @ sums
        assert found["Coarseness"][number] == pytest.approx(1 / weighted if weighted else 1e6)


def test_an_image_of_one_value_has_finite_features():
    found = radiomic_features(np.full((1, 16, 16), 7.0))
    assert all(np.isfinite(values).all() for values in found.values())


def test_standardised_images_forget_their_scale_and_levels_start_at_one():
    images = standardised(np.random.default_rng(0).normal(40, 9, (4, 8, 8)))
    np.testing.assert_allclose(images.std((1, 2), ddof=1), 100)
    assert (grey_levels(images).min((1, 2)) == 1).all()


def test_the_module_gives_a_row_an_image():
    pixels = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert Radiomics()(pixels).shape == (3, 380)


def test_odd_sides_are_refused():
    with pytest.raises(ValueError, match="even sides"):
        radiomic_features(np.zeros((1, 15, 16)))
