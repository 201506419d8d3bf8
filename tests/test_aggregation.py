"""How updates are joined: every rule by its equation, and what is refused whatever the rule."""

from pathlib import Path

import numpy as np
import pytest
from tiny_runs import tiny_run_config

from cmrfed.aggregation import join
from cmrfed.config import AggregationConfig, RunConfig, UserError, read_stage
from cmrfed.federation import GlobalState, advance, load_state, save_state
from cmrfed.members import RULES


def update(value):
    return {"a": np.full((2, 2), value, np.float32)}


every_rule = pytest.mark.parametrize("rule", sorted(RULES))


@every_rule
def test_a_rule_of_equal_updates_is_that_update(rule):
    assert np.allclose(join(rule, [update(0.3)] * 3)["a"], 0.3)


@every_rule
def test_sites_with_different_weights_are_refused_whatever_the_rule(rule):
    for other in ({"b": np.ones((2, 2), np.float32)}, {"a": np.ones(1, np.float32)}):
        with pytest.raises(UserError, match="same generator"):
            join(rule, [update(1.0), other])


def test_the_mean_has_equal_public_weights_and_so_a_stated_sensitivity():
    """Moving one of n updates by d moves the mean by d / n, whatever the others are."""
    others = [update(5.0), update(-2.0)]
    moved = join("mean", [update(1.0), *others])["a"] - join("mean", [update(0.0), *others])["a"]
    assert np.allclose(moved, 1 / 3)


def test_fewer_than_half_of_the_sites_cannot_move_a_median_beyond_the_others():
    honest = [update(value) for value in (0.9, 1.0, 1.1)]
    for lie in (-1e9, 0.0, 1e9):
        found = join("median", [*honest, update(lie), update(lie)])["a"]
        assert found.dtype == np.float32 and ((found >= np.float32(0.9)) & (found <= np.float32(1.1))).all()


def test_a_rule_that_needs_every_sites_own_update_is_refused_where_nobody_sees_one():
    values = tiny_run_config(Path("x")).model_dump() | {"aggregation": {"rule": "median"}}
    values["privacy"]["mode"], values["training"]["local_steps"] = "distributed", 1
    with pytest.raises(UserError, match=r"^aggregation.rule: median needs every site's own update.*rule=mean"):
        read_stage(RunConfig, values)


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
