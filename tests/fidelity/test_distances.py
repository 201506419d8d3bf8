"""FID and KID against their papers' equations, computed again with numpy and scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from cmrfed.fidelity import METRICS, frechet_distance, kernel_distance


def normal(count, features, seed, shift=0.0, scale=1.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, scale, (count, features)))


def reference_fid(first, second):
    first, second = first.numpy(), second.numpy()
    covariances = [np.cov(side, rowvar=False) for side in (first, second)]
    difference = first.mean(0) - second.mean(0)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * root)


def reference_kid(first, second):
    """Equation 4 of Binkowski et al. (2018), by explicit loops over pairs."""
    first, second = first.numpy(), second.numpy()
    n, m = len(first), len(second)

    def kernel(x, y):
        return (x @ y / x.size + 1) ** 3

    within_first = sum(kernel(first[i], first[j]) for i in range(n) for j in range(n) if i != j)
    within_second = sum(kernel(second[i], second[j]) for i in range(m) for j in range(m) if i != j)
    between = sum(kernel(x, y) for x in first for y in second)
    return within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * between / (n * m)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), features=st.integers(2, 12), shift=st.floats(0, 3), scale=st.floats(0.2, 3))
def test_distances_are_the_published_ones(seed, features, shift, scale):
    first, second = normal(40, features, seed), normal(40, features, seed + 1, shift, scale)
    assert frechet_distance(first, second) == pytest.approx(reference_fid(first, second), rel=1e-3, abs=1e-6)
    assert kernel_distance(first, second) == pytest.approx(reference_kid(first, second), rel=1e-3, abs=1e-9)


def test_fid_of_gaussians_tends_to_the_closed_form():
    sigma_1, sigma_2, shift = np.array([1.0, 2.0, 0.5]), np.array([2.0, 1.0, 0.5]), np.array([1.0, 0.0, 3.0])
    first = normal(200_000, 3, 0) * torch.from_numpy(sigma_1)
    second = normal(200_000, 3, 1) * torch.from_numpy(sigma_2) + torch.from_numpy(shift)
    assert frechet_distance(first, second) == pytest.approx(shift @ shift + ((sigma_1 - sigma_2) ** 2).sum(), rel=0.01)


def test_fid_with_fewer_images_than_features_is_that_of_all_features():
    first, second = normal(30, 200, 0), normal(25, 200, 1, shift=0.5)
    left, right = (side - side.mean(0) for side in (first, second))
    # tr (S_1 S_2)^(1/2) is the nuclear norm of the cross-product of the centred features.
    root = torch.linalg.matrix_norm(left @ right.T, "nuc") / np.sqrt(29 * 24)
    traces = left.square().sum() / 29 + right.square().sum() / 24
    expected = (first.mean(0) - second.mean(0)).square().sum() + traces - 2 * root
    assert frechet_distance(first, second) == pytest.approx(float(expected), rel=1e-6)


def test_kid_is_zero_on_average_for_one_distribution():
    values = [kernel_distance(normal(50, 8, 2 * seed), normal(50, 8, 2 * seed + 1)) for seed in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_distance_is_symmetric_grows_with_the_difference_and_says_nothing(metric, capfd):
    first = normal(60, 10, 0)
    near, far = normal(60, 10, 1, shift=0.2), normal(60, 10, 1, shift=1.0)
    assert metric(first, near) == pytest.approx(metric(near, first))
    assert metric(first, near) < metric(first, far)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_one_image_has_no_distribution(metric):
    with pytest.raises(ValueError, match="at least two images"):
        metric(normal(1, 4, 0), normal(1, 4, 1))
