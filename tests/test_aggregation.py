"""The joint update weighs every site alike, whatever it holds."""

import numpy as np
import pytest

from cmrfed.aggregation import RULES
from cmrfed.config import AggregationConfig, UserError
from cmrfed.federation import GlobalState, advance, load_state, save_state


def update(value):
    return {"a": np.full((2, 2), value, np.float32)}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_of_equal_updates_is_that_update(rule):
    assert np.allclose(rule([update(0.3)] * 3)["a"], 0.3)


def test_the_mean_has_equal_public_weights_and_so_a_stated_sensitivity():
    """Moving one of n updates by d moves the mean by d / n, whatever the others are."""
    others = [update(5.0), update(-2.0)]
    moved = RULES["mean"]([update(1.0), *others])["a"] - RULES["mean"]([update(0.0), *others])["a"]
    assert np.allclose(moved, 1 / 3)


def test_sites_with_different_weights_are_refused():
    with pytest.raises(UserError, match="same generator"):
        RULES["mean"]([update(1.0), {"b": np.ones(1, np.float32)}])


def test_the_state_moves_by_the_mean_and_a_round_without_updates_changes_no_weight():
    start = GlobalState(0, update(1.0), update(1.0))
    config = AggregationConfig(server_learning_rate=0.5, ema_decay=0.9)
    moved = advance(start, [update(2.0), update(4.0)], config)
    assert np.allclose(moved.weights["a"], 1 + 0.5 * 3)
    assert np.allclose(moved.averaged["a"], 0.1 * 1 + 0.9 * 2.5), "the decay warms up from 1 / 10"
    assert np.allclose(advance(moved, [], config).weights["a"], moved.weights["a"])


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    state = GlobalState(7, update(1.0), update(2.0))
    save_state(tmp_path / "c.safetensors", state)
    loaded = load_state(tmp_path / "c.safetensors")
    assert loaded.round == 7
    assert np.array_equal(loaded.weights["a"], state.weights["a"])
    assert np.array_equal(loaded.averaged["a"], state.averaged["a"])
