"""A site pays before it releases, answers a repeated request with the same bytes, and keeps to its own policy."""

import numpy as np
import pytest
from conftest import toy_plan, toy_slices

from cmrfed import site as site_module
from cmrfed.generators import build_generator
from cmrfed.privacy import BudgetExceeded, Ledger, epsilon
from cmrfed.site import Refusal, Request, SitePolicy, answer
from cmrfed.training import LocalTask
from cmrfed.updates import read_weights

POLICY = SitePolicy(name="here", maximum_epsilon=1000.0)
ROOMY = toy_plan(seed=None, target_epsilon=1000.0)


@pytest.fixture
def home(tmp_path):
    toy_slices([2, 3, 2, 2]).save(tmp_path / "slices.safetensors")
    return tmp_path


@pytest.fixture
def weights(tiny_generator_config):
    return read_weights(build_generator(tiny_generator_config, seed=0))


@pytest.fixture
def request_round(tiny_generator_config, fp32_training):
    def make(round=1, plan=ROOMY, run="run"):
        task = LocalTask(training=fp32_training, plan=plan, round=round, rounds=3)
        return Request(run=run, generator=tiny_generator_config, task=task)

    return make


def rows(home):
    return Ledger(home / "ledger.sqlite").entries()


def test_every_released_round_is_in_the_ledger(home, weights, request_round):
    events = [answer(home, POLICY, request_round(round), weights).event for round in (1, 2)]
    assert [row.event for row in rows(home)] == events
    assert rows(home)[-1].epsilon == pytest.approx(epsilon(events, 1e-3))


def test_the_same_request_gets_the_same_bytes_and_costs_nothing_again(home, weights, request_round):
    first, again = (answer(home, POLICY, request_round(), weights) for _ in range(2))
    assert all(np.array_equal(first.update[name], again.update[name]) for name in first.update)
    assert len(rows(home)) == 1


def test_other_weights_for_the_same_round_are_another_release_and_are_paid_for(home, weights, request_round):
    first = answer(home, POLICY, request_round(), weights)
    moved = {name: array + 0.01 for name, array in weights.items()}
    second = answer(home, POLICY, request_round(), moved)
    assert not all(np.array_equal(first.update[name], second.update[name]) for name in first.update)
    assert len(rows(home)) == 2


def test_a_crash_before_payment_releases_nothing_and_the_answer_is_paid_for_when_it_is_sent(
    home, weights, request_round, monkeypatch
):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(site_module, "_pay", crash)
        with pytest.raises(KeyboardInterrupt):
            answer(home, POLICY, request_round(), weights)
    assert not (home / "ledger.sqlite").exists()
    answer(home, POLICY, request_round(), weights)
    assert len(rows(home)) == 1


def test_the_ledger_commits_before_the_answer_leaves(home, weights, request_round, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(site_module, "_log_round", crash)
    with pytest.raises(KeyboardInterrupt):
        answer(home, POLICY, request_round(), weights)
    assert len(rows(home)) == 1


def test_a_round_beyond_the_plans_epsilon_is_refused_and_not_recorded(home, weights, request_round):
    event = toy_plan().event(2)
    plan = toy_plan(seed=None, target_epsilon=epsilon([event] * 2, 1e-3))
    for round in (1, 2):
        answer(home, POLICY, request_round(round, plan), weights)
    with pytest.raises(BudgetExceeded, match="nothing was released"):
        answer(home, POLICY, request_round(3, plan), weights)
    assert len(rows(home)) == 2


def test_another_runs_name_does_not_open_a_new_budget(home, weights, request_round):
    policy = POLICY.model_copy(update={"maximum_epsilon": epsilon([toy_plan().event(2)], 1e-3)})
    answer(home, policy, request_round(run="one"), weights)
    with pytest.raises(BudgetExceeded, match="over all runs"):
        answer(home, policy, request_round(run="two"), weights)


@pytest.mark.parametrize(
    ("plan", "policy", "said"),
    [
        (None, {}, "without privacy is not allowed"),
        (toy_plan(seed=None, delta=0.01), {"maximum_delta": 1e-3}, "delta 0.01 is above"),
        (toy_plan(seed=None, minimum_patients=5), {}, "fewer than the 5 patients"),
        (toy_plan(seed=None), {"minimum_patients": 6}, "fewer than the 6 patients"),
    ],
)
def test_a_request_outside_the_policy_is_refused_before_training(
    home, weights, request_round, monkeypatch, plan, policy, said
):
    monkeypatch.setattr(site_module, "train", None)
    with pytest.raises(Refusal, match=said):
        answer(home, POLICY.model_copy(update=policy), request_round(plan=plan), weights)
    assert not (home / "ledger.sqlite").exists()


def test_without_privacy_the_loss_is_told_and_no_ledger_begun(home, weights, request_round):
    policy = POLICY.model_copy(update={"allow_without_privacy": True})
    assert answer(home, policy, request_round(plan=None), weights).loss > 0
    assert not (home / "ledger.sqlite").exists()


def test_a_hostile_run_name_stays_in_the_outbox(home, weights, request_round):
    answer(home, POLICY, request_round(run="../../etc/passwd"), weights)
    outside = {path.name for path in home.iterdir()} - {"slices.safetensors", "outbox", "rounds.jsonl", "progress.json"}
    assert all(name.startswith("ledger.sqlite") for name in outside)
    assert len(list((home / "outbox").iterdir())) == 1


def test_asking_by_turns_buys_no_free_release(home, weights, request_round):
    """A, B, A: the outbox keeps only the last answer, so the second A is a fresh release and is paid for."""
    moved = {name: array + 0.01 for name, array in weights.items()}
    first, _, again = (answer(home, POLICY, request_round(), asked) for asked in (weights, moved, weights))
    assert not all(np.array_equal(first.update[name], again.update[name]) for name in first.update)
    assert len(rows(home)) == 3


def test_a_server_cannot_choose_the_noise(home, weights, request_round):
    with pytest.raises(Refusal, match="seeded"):
        answer(home, POLICY, request_round(plan=toy_plan(seed=0, target_epsilon=1000.0)), weights)
    assert not (home / "ledger.sqlite").exists()
