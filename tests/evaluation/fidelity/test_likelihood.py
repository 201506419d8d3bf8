"""Feature likelihood divergence: the published mixture, and what it is for, telling copies from new images."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from cmrfed.evaluation.fidelity.metrics import feature_likelihood
from cmrfed.evaluation.fidelity.metrics.likelihood import Mixture


def normal(count, seed, shift=0.0, features=6):
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, 1, (count, features)))


def test_the_likelihood_is_that_of_the_mixture():
    centres, images = normal(7, 0), normal(9, 1)
    mixture = Mixture(centres, normal(7, 2)[:, 0])
    widths = mixture.log_variances.exp().tolist()
    shares = [
        np.mean([multivariate_normal(centre, width).pdf(x) for centre, width in zip(centres, widths, strict=True)])
        for x in images.numpy()
    ]
    assert mixture.nats_a_feature(images) == pytest.approx(-np.log(shares).mean() / 6)


def test_a_fit_makes_the_images_likelier_than_equal_widths_do():
    centres, images = normal(40, 0), normal(60, 1)
    fitted = Mixture.fitted(centres, images).nats_a_feature(images)
    best_equal = min(
        Mixture(centres, torch.full((40,), float(width), dtype=torch.float64)).nats_a_feature(images)
        for width in np.linspace(-3, 3, 25)
    )
    assert fitted < best_equal


def test_images_as_good_as_real_ones_score_zero_and_worse_ones_more():
    train, test, others = normal(100, 0), normal(100, 1), normal(100, 2)
    assert feature_likelihood(others, train, test, others)[0] == 0
    good, near, far = (feature_likelihood(normal(100, 3, s), train, test, others)[0] for s in (0, 1, 2))
    assert abs(good) < near < far


def test_copies_of_the_training_images_open_the_gap_and_raise_the_divergence():
    train, test, others = normal(100, 0), normal(100, 1), normal(100, 2)
    _, usual = feature_likelihood(normal(100, 3), train, test, others)
    copied, gap = feature_likelihood(train + 1e-3 * normal(100, 4), train, test, others)
    assert gap < usual - 100
    assert copied > 100


def test_the_scale_of_features_and_those_that_never_vary_change_nothing():
    sets = [normal(30, seed) for seed in range(4)]
    scaled = [torch.cat([1000 * side - 5, torch.ones(30, 1)], 1) for side in sets]
    assert feature_likelihood(*scaled) == pytest.approx(feature_likelihood(*sets), rel=1e-3, abs=1e-6)


def test_where_no_feature_of_the_test_images_varies_there_is_no_likelihood():
    same = torch.ones(9, 6)
    assert np.isnan(feature_likelihood(normal(9, 0), normal(9, 1), same, normal(9, 2))).all()
    assert np.isnan(feature_likelihood(same, same, same, same)).all()


def test_made_images_that_are_all_the_same_are_less_likely_than_real_ones_by_a_finite_number():
    train, test, others = normal(40, 0), normal(40, 1), normal(40, 2)
    collapsed, _ = feature_likelihood(torch.full((40, 6), 3.0), train, test, others)
    assert 0 < collapsed < np.inf


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="all four"):
        feature_likelihood(normal(0, 0), normal(3, 1), normal(3, 2), normal(3, 3))
