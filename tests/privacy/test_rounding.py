"""Rounding before a secure sum is post-processing of the sum up to aliasing, whose bound is a bound."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from cmrfed.privacy.rounding import GRID, aliasing_bound, log10_rounding_delta

POINTS = np.arange(-60, 61)


def rounded(offset, ratio):
    """Probabilities of round(offset + N(0, ratio^2)) on the integers."""
    return norm.cdf(POINTS + 0.5, offset, ratio) - norm.cdf(POINTS - 0.5, offset, ratio)


def spline_rounded(offsets, ratio):
    """Probabilities of the real sum rounded at random with B-spline weights: the density of the sum of all Gaussians
    and of one uniform variable a site, on the integers. Integrated numerically over the uniform variables."""
    fine = 401
    width = np.linspace(-0.5, 0.5, fine)
    kernel, step = np.ones(fine) / fine, width[1] - width[0]
    total = kernel
    for _ in offsets[1:]:
        total = np.convolve(total, kernel)
    shifts = (np.arange(len(total)) - (len(total) - 1) / 2) * step
    spread = ratio * math.sqrt(len(offsets))
    return sum(w * norm.pdf(POINTS, sum(offsets) + shift, spread) for w, shift in zip(total, shifts, strict=True))


@pytest.mark.parametrize("offsets", [(0.0, 0.0), (0.3, -0.1), (0.5, 0.49, -0.2)])
@pytest.mark.parametrize("ratio", [0.4, 0.6, 0.8, 1.0])
def test_the_sum_of_rounded_shares_differs_from_post_processing_by_less_than_the_bound(offsets, ratio):
    true = rounded(offsets[0], ratio)
    for offset in offsets[1:]:
        true = np.convolve(true, rounded(offset, ratio), mode="same")
    difference = np.abs(true - spline_rounded(offsets, ratio)).max()
    numerical = 2e-5  # of the integration above
    assert difference <= aliasing_bound(ratio, len(offsets)) + numerical
    if ratio == 0.4:
        assert difference > 1e-3, "coarse rounding must show, or this test shows nothing"


def test_one_site_rounds_for_free():
    assert aliasing_bound(0.1, 1) == 0
    assert log10_rounding_delta(0.1, 1, 10**6, 1000, 8.0) == -math.inf


def test_on_the_plans_grid_no_accountant_needs_to_know():
    for sites in (2, 30, 1000):
        ratio = 1 / (GRID * math.sqrt(sites))
        assert log10_rounding_delta(ratio, sites, 10**7, 10**4, 50.0) < -3000
