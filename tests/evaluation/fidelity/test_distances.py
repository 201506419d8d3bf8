"""Distances of feature sets against their papers' equations, computed again with numpy, scipy and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from cmrfed.evaluation.fidelity.metrics import (
    density_coverage,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
    set_distances,
)

DISTANCES = {"fid": frechet_distance, "kid": kernel_distance}


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


@pytest.mark.parametrize(("count", "features"), [(60, 20), (30, 200), (90, 64)])
def test_fid_is_torch_fidelitys(count, features):
    first, second = normal(count, features, 0), normal(count - 5, features, 1, shift=0.5, scale=2)
    statistics = [fid_features_to_statistics(side) for side in (first, second)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-3)


def reference_fid_by_eigenvalues(first, second):
    """tr (S_1 S_2)^(1/2) = tr (S_1^(1/2) S_2 S_1^(1/2))^(1/2), which is exact for singular covariances too."""
    covariances = [np.cov(side.numpy(), rowvar=False) for side in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariances[1] @ root), 0)).sum()
    difference = first.mean(0).numpy() - second.mean(0).numpy()
    return difference @ difference + np.trace(covariances[0] + covariances[1]) - 2 * cross


@pytest.mark.parametrize(("count", "features"), [(60, 20), (30, 200), (90, 64)])
def test_fid_is_exact_whether_there_are_more_images_or_more_features(count, features):
    first, second = normal(count, features, 0), normal(count - 5, features, 1, shift=0.5, scale=2)
    assert frechet_distance(first, second) == pytest.approx(reference_fid_by_eigenvalues(first, second), rel=1e-6)


def test_fid_of_gaussians_tends_to_the_closed_form():
    sigma_1, sigma_2, shift = np.array([1.0, 2.0, 0.5]), np.array([2.0, 1.0, 0.5]), np.array([1.0, 0.0, 3.0])
    first = normal(200_000, 3, 0) * torch.from_numpy(sigma_1)
    second = normal(200_000, 3, 1) * torch.from_numpy(sigma_2) + torch.from_numpy(shift)
    assert frechet_distance(first, second) == pytest.approx(shift @ shift + ((sigma_1 - sigma_2) ** 2).sum(), rel=0.01)


def test_kid_is_zero_on_average_for_one_distribution():
    values = [kernel_distance(normal(50, 8, 2 * seed), normal(50, 8, 2 * seed + 1)) for seed in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


@pytest.mark.parametrize("metric", DISTANCES.values(), ids=DISTANCES)
def test_a_distance_is_symmetric_grows_with_the_difference_and_says_nothing(metric, capfd):
    first = normal(60, 10, 0)
    near, far = normal(60, 10, 1, shift=0.2), normal(60, 10, 1, shift=1.0)
    assert metric(first, near) == pytest.approx(metric(near, first))
    assert metric(first, near) < metric(first, far)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("metric", DISTANCES.values(), ids=DISTANCES)
def test_one_image_has_no_distribution(metric):
    with pytest.raises(ValueError, match="at least two images"):
        metric(normal(1, 4, 0), normal(1, 4, 1))


def radii(points, k):
    """Distance from each point to its k-th neighbour, itself not counted."""
    return NearestNeighbors(n_neighbors=k + 1).fit(points).kneighbors(points)[0][:, -1]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), shift=st.floats(0, 2), scale=st.floats(0.3, 2))
def test_neighbourhood_scores_are_the_published_ones(seed, shift, scale):
    made, real = normal(30, 3, seed, shift, scale), normal(40, 3, seed + 1)
    apart = np.linalg.norm(real.numpy()[:, None] - made.numpy()[None], axis=2)
    precision = (apart <= radii(real, 3)[:, None]).any(0).mean()
    recall = (apart <= radii(made, 3)[None]).any(1).mean()
    assert precision_recall(made, real) == pytest.approx((precision, recall))
    inside = apart < radii(real, 5)[:, None]
    assert density_coverage(made, real) == pytest.approx((inside.sum() / (5 * 30), inside.any(1).mean()))


def test_neighbourhood_scores_tell_a_lost_mode_from_a_false_one():
    real = torch.cat([normal(100, 4, 0), normal(100, 4, 1, shift=20)])
    lost, false = normal(200, 4, 2), torch.cat([real + 0.1, normal(200, 4, 3, shift=-20)])
    precision, recall = precision_recall(lost, real)
    assert precision > 0.8
    assert recall < 0.6
    precision, recall = precision_recall(false, real)
    assert precision < 0.6
    assert recall > 0.8
    assert density_coverage(lost, real)[1] < 0.6
    assert density_coverage(false, real)[1] > 0.8


def test_scores_that_a_set_is_too_small_for_are_nan_and_not_wrong():
    found = set_distances(normal(3, 4, 0), normal(5, 4, 1)[:3])
    assert np.isnan([found[name] for name in ("precision", "recall", "density", "coverage")]).all()
    assert np.isfinite([found["fid"], found["kid"]]).all()
    assert np.isnan(list(set_distances(normal(1, 4, 0), normal(9, 4, 1)).values())).all()


def test_the_inception_score_is_one_without_variety_and_the_number_of_kinds_at_most():
    assert inception_score(torch.zeros(20, 5)) == pytest.approx(1)
    assert inception_score(100 * torch.eye(5).repeat(4, 1)) == pytest.approx(5)


def test_the_inception_score_is_the_published_one():
    p = torch.softmax(normal(30, 7, 0), 1).numpy()
    divergences = (p * np.log(p / p.mean(0))).sum(1)
    assert inception_score(normal(30, 7, 0)) == pytest.approx(np.exp(divergences.mean()))
    with pytest.raises(ValueError, match="at least one image"):
        inception_score(torch.zeros(0, 7))
