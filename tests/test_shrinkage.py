"""A noised update is believed as far as it exceeds its noise: nearer to the truth, whatever the truth is."""

import numpy as np
import pytest

from cmrfed.aggregation import shrunk
from cmrfed.aggregation.shrinkage import PIECE


def error(found, truth):
    return float(np.square(found - truth).sum())


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0, 10.0])
def test_it_comes_nearer_to_the_truth_than_the_update_itself(length):
    """Over 300 noises, of 8 pieces of which one holds all of the truth, `length` times its piece's noise."""
    random = np.random.default_rng(0)
    truth = np.zeros(8 * PIECE)
    truth[:PIECE] = length
    noised = truth + random.standard_normal((300, truth.size))
    found = np.stack([shrunk({"w": one}, 1.0)["w"] for one in noised])
    assert error(found, truth) < 0.95 * error(noised, truth)


def test_of_pure_noise_hardly_anything_is_believed():
    random = np.random.default_rng(1)
    found = [shrunk({"w": random.standard_normal(8 * PIECE)}, 1.0)["w"] for _ in range(500)]
    assert np.mean([error(one, 0.0) for one in found]) < 0.01 * 8 * PIECE
    assert np.mean([bool(one.any()) for one in found]) < 0.35, "of eight pieces mostly none"


def test_what_stands_out_is_believed_nearly_whole_beside_noise_that_is_not():
    random = np.random.default_rng(1)
    noise, signal = random.standard_normal(PIECE), 20 + random.standard_normal(PIECE)
    found = shrunk({"w": np.concatenate([noise, signal])}, 1.0)["w"]
    assert not found[:PIECE].any()
    np.testing.assert_allclose(found[PIECE:], signal, rtol=0.01)


def test_the_factor_is_james_and_steins_with_the_guard():
    piece = np.full(5, 4.0)
    np.testing.assert_allclose(shrunk({"w": piece}, 1.5)["w"], piece * (1 - (3 + 2 * 10**0.5) * 1.5**2 / 80))


def test_without_noise_nothing_changes_and_shapes_and_formats_stay():
    update = {"a": np.ones((3, 4), np.float32), "b": np.zeros(7, np.float32), "c": np.ones(1, np.float32)}
    for name, array in shrunk(update, 0.0).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, update[name])
