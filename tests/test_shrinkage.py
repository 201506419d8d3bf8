"""A noised update is believed as far as it exceeds its noise: nearer to the truth, whatever the truth is."""

import numpy as np
import pytest

from cmrfed.aggregation import shrunk
from cmrfed.aggregation.shrinkage import PIECE


def error(found, truth):
    return float(np.square(found - truth).sum())


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0, 10.0])
def test_it_comes_nearer_to_any_truth_than_the_update_itself(length):
    """Over 300 noises, of 8 pieces of which one holds all of the truth, `length` times its piece's noise."""
    random = np.random.default_rng(0)
    truth = np.zeros(8 * PIECE)
    truth[:PIECE] = length
    noised = truth + random.standard_normal((300, truth.size))
    found = np.stack([shrunk({"w": one}, 1.0)["w"] for one in noised])
    assert error(found, truth) < 0.95 * error(noised, truth)


def test_pure_noise_is_hardly_believed_and_what_stands_out_nearly_whole():
    random = np.random.default_rng(1)
    noise, signal = random.standard_normal(PIECE), 20 + random.standard_normal(PIECE)
    found = shrunk({"w": np.concatenate([noise, signal])}, 1.0)["w"]
    assert np.linalg.norm(found[:PIECE]) < 0.5 * np.linalg.norm(noise)
    np.testing.assert_allclose(found[PIECE:], signal, rtol=0.01)


def test_the_factor_is_james_and_steins():
    piece = np.full(5, 2.0)
    np.testing.assert_allclose(shrunk({"w": piece}, 1.5)["w"], piece * (1 - 3 * 1.5**2 / 20))


def test_without_noise_nothing_changes_and_shapes_and_formats_stay():
    update = {"a": np.ones((3, 4), np.float32), "b": np.zeros(7, np.float32), "c": np.ones(1, np.float32)}
    for name, array in shrunk(update, 0.0).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, update[name])
