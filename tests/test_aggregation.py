"""How updates are joined: every rule by its equation, and what is refused whatever the rule."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tiny_runs import tiny_run_config

from cmrfed.aggregation import fewest_updates, join
from cmrfed.config import AggregationConfig, RunConfig, UserError, read_stage
from cmrfed.federation import GlobalState, advance, load_state, refuse_few_sites, save_state
from cmrfed.members import RULES


def update(value):
    return {"a": np.full((2, 2), value, np.float32)}


def joined(rule, updates, **parameters):
    return join(AggregationConfig(rule=rule, **parameters), updates)


every_rule = pytest.mark.parametrize("rule", sorted(RULES))
numbers = st.floats(-100, 100, width=32)


def sites(fewest, most=9):
    """Updates of two weights, from so many sites."""
    shapes = st.integers(fewest, most).map(lambda count: (count, 3))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=numbers))


def as_updates(values):
    return [{"a": row[:2], "b": row[2:]} for row in values]


def as_row(found):
    return np.concatenate([found["a"], found["b"]])


@every_rule
def test_a_rule_of_equal_updates_is_that_update(rule):
    found = joined(rule, [update(0.3)] * 5)["a"]
    assert np.allclose(found, 0.3) and found.dtype == np.float32


@every_rule
@given(sites(5))
def test_a_rule_keeps_to_what_the_sites_say_and_does_not_ask_in_which_order(rule, values):
    found = as_row(joined(rule, as_updates(values)))
    assert ((found >= values.min(0) - 1e-3) & (found <= values.max(0) + 1e-3)).all()
    if "krum" not in rule:  # of updates that are equally near to the others, the first is taken
        np.testing.assert_allclose(as_row(joined(rule, as_updates(values[::-1]))), found, atol=1e-4)


@every_rule
def test_sites_with_different_weights_are_refused_whatever_the_rule(rule):
    for other in ({"b": np.ones((2, 2), np.float32)}, {"a": np.ones(1, np.float32)}):
        with pytest.raises(UserError, match="same generator"):
            joined(rule, [update(1.0)] * 5 + [other])


@every_rule
def test_too_few_updates_and_too_few_sites_are_refused_before_a_rule_is_asked(rule):
    fewest = fewest_updates(AggregationConfig(rule=rule))
    joined(rule, [update(1.0)] * fewest)
    if fewest > 1:
        with pytest.raises(UserError, match=f"{rule} needs {fewest} updates, found {fewest - 1}"):
            joined(rule, [update(1.0)] * (fewest - 1))
        run = tiny_run_config(Path("x"), aggregation={"rule": rule, "shrinkage": "none"})
        refuse_few_sites(run, fewest)
        with pytest.raises(UserError, match=f"aggregation.rule: {rule} needs {fewest} sites .* found {fewest - 1}"):
            refuse_few_sites(run, fewest - 1)


def test_more_replies_than_sites_are_never_waited_for():
    run = tiny_run_config(Path("x"), federation={"minimum_replies": 3})
    refuse_few_sites(run, 3)
    with pytest.raises(UserError, match=r"federation.minimum_replies: 3 is more than the 2 sites there are"):
        refuse_few_sites(run, 2)


def test_the_mean_has_equal_public_weights_and_so_a_stated_sensitivity():
    """Moving one of n updates by d moves the mean by d / n, whatever the others are."""
    others = [update(5.0), update(-2.0)]
    moved = joined("mean", [update(1.0), *others])["a"] - joined("mean", [update(0.0), *others])["a"]
    assert np.allclose(moved, 1 / 3)


@pytest.mark.parametrize(
    ("rule", "parameters"), [("median", {}), ("trimmed_mean", {"trimmed_share": 0.4}), ("krum", {}), ("multi_krum", {})]
)
def test_what_few_sites_send_cannot_move_a_robust_rule_beyond_the_others(rule, parameters):
    """Fewer than half of them; of Krum's rules as many as they are told of."""
    liars = 1 if "krum" in rule else 2
    honest = [update(value) for value in (0.9, 1.0, 1.05, 1.1)[: 5 - liars]]
    for lie in (-1e9, 0.0, 1e9):
        found = joined(rule, [*honest, *[update(lie)] * liars], **parameters)["a"]
        assert ((found >= np.float32(0.9)) & (found <= np.float32(1.1))).all()


@given(sites(4), numbers, st.sampled_from([0.25, 0.3, 0.45]))
def test_one_site_moves_a_trimmed_mean_by_what_its_docstring_says_at_most(values, sent, share):
    """(y_(n-b) - y_b) / (n - 2 b) of the others' values y in order."""
    count, trimmed = len(values), int(share * len(values) + 1e-9)
    others = np.sort(values[1:], axis=0)
    most = (others[count - trimmed - 1] - others[trimmed - 1]) / (count - 2 * trimmed)
    changed = np.vstack([np.full((1, 3), sent, np.float32), values[1:]])
    before, after = (as_row(joined("trimmed_mean", as_updates(v), trimmed_share=share)) for v in (values, changed))
    assert (np.abs(after - before) <= most + 1e-3).all()


@given(sites(4))
def test_a_trimmed_mean_is_the_mean_of_what_is_left_in_order(values):
    trimmed = len(values) // 4
    kept = [sorted(column)[trimmed : len(values) - trimmed] for column in values.astype(float).T]
    found = as_row(joined("trimmed_mean", as_updates(values)))
    np.testing.assert_allclose(found, [sum(column) / len(column) for column in kept], atol=1e-4)


def test_a_share_is_of_the_sites_whatever_its_rounding_in_binary():
    values = [update(-1e9)] * 29 + [update(1.0)] * 71
    assert (joined("trimmed_mean", values, trimmed_share=0.29)["a"] == 1).all(), "0.29 x 100 is a hair below 29"


def krum_scores(values, byzantine):
    """Blanchard et al.'s, by looking at every choice of n - f - 2 others."""
    found = []
    for i, own in enumerate(values):
        apart = [float(np.square(own - other).sum()) for j, other in enumerate(values) if j != i]
        found.append(min(map(sum, combinations(apart, len(values) - byzantine - 2))))
    return np.array(found)


@given(sites(5, most=7))
def test_krum_takes_an_update_of_least_score_and_multi_krum_the_mean_of_those_of_least(values):
    exact = values.astype(float)
    scores = krum_scores(exact, 1)
    taken = as_row(joined("krum", as_updates(values)))
    assert any(np.array_equal(row, taken) and scores[n] <= scores.min() + 1e-2 for n, row in enumerate(values))
    order, kept = np.sort(scores), len(values) - 3
    if kept == len(values) or order[kept] > order[kept - 1] + 1e-2:  # no tie about who is averaged
        expected = exact[scores <= order[kept - 1] + 1e-2].mean(0)
        np.testing.assert_allclose(as_row(joined("multi_krum", as_updates(values))), expected, atol=1e-3)


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


def reference(kind, deltas, rate=0.1, beta1=0.8, beta2=0.95, tau=0.01):
    """Reddi et al.'s algorithm 2, and Hsu et al.'s momentum, for one number."""
    x, m, v = 1.0, 0.0, tau**2
    for delta in deltas:
        if kind == "momentum":
            m = beta1 * m + delta
            x += rate * m
            continue
        m = beta1 * m + (1 - beta1) * delta
        squared = delta * delta
        towards = squared - v if kind == "adam" else squared * np.sign(squared - v)
        v += (1 - beta2) * towards
        x += rate * m / (np.sqrt(v) + tau)
    return x


@pytest.mark.parametrize("kind", ["momentum", "adam", "yogi"])
def test_a_servers_optimizer_moves_the_weights_as_its_paper_has_it(kind, tmp_path):
    """Also where each round begins from the checkpoint of the last, to the bit."""
    config = AggregationConfig(server_optimizer=kind, server_learning_rate=0.1, beta1=0.8, beta2=0.95, tau=0.01)
    deltas = [0.5, -0.2, 0.003, 0.3]
    whole = resumed = GlobalState(0, update(1.0), update(1.0))
    for delta in deltas:
        whole = advance(whole, [update(delta - 0.1), update(delta + 0.1)], config)
        resumed = advance(resumed, [update(delta - 0.1), update(delta + 0.1)], config)
        save_state(tmp_path / "c.safetensors", resumed)
        resumed = load_state(tmp_path / "c.safetensors")
    np.testing.assert_allclose(whole.weights["a"], reference(kind, deltas), rtol=1e-5)
    assert np.array_equal(whole.weights["a"], resumed.weights["a"])
    assert np.array_equal(advance(whole, [], config).weights["a"], whole.weights["a"]), "no update, no step"


def test_a_weight_that_a_round_does_not_train_keeps_its_moments():
    config = AggregationConfig(server_optimizer="adam")
    start = {"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)}
    first = advance(GlobalState(0, start, start), [{"a": np.ones(1, np.float32)}], config)
    second = advance(first, [{"b": np.ones(1, np.float32)}], config)
    assert second.moments.first["a"] == first.moments.first["a"] == pytest.approx(0.1)
    assert second.weights["a"] == first.weights["a"]
    assert second.weights["b"] == first.weights["a"], "which begins as the other did"


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    state = GlobalState(7, update(1.0), update(2.0))
    save_state(tmp_path / "c.safetensors", state)
    loaded = load_state(tmp_path / "c.safetensors")
    assert loaded.round == 7
    assert np.array_equal(loaded.weights["a"], state.weights["a"])
    assert np.array_equal(loaded.averaged["a"], state.averaged["a"])
