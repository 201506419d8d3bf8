"""A site pays before it releases, answers a repeated request with the same bytes, and keeps to its own policy."""

import numpy as np
import pytest
from conftest import toy_plan, toy_slices
from homes import make_home

from cmrfed.config import AdaptiveClipping
from cmrfed.generators import build_generator
from cmrfed.privacy import BudgetExceeded, NoiseSharing, epsilon
from cmrfed.site import Home, Refusal, Request, answer, local
from cmrfed.training import LocalTask
from cmrfed.updates import load_weights, read_weights

ROOMY = toy_plan(seed=None, target_epsilon=1000.0)


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path)


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
    return home.ledger.entries()


def crash_before_payment(home, request, weights, monkeypatch):
    """The answer is in the outbox, and the site dies before it has paid."""

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Home, "pay", crash)
        with pytest.raises(KeyboardInterrupt):
            answer(home, request, weights)


def test_every_released_round_is_in_the_ledger(home, weights, request_round):
    events = [answer(home, request_round(round), weights).event for round in (1, 2)]
    assert [row.event for row in rows(home)] == events
    assert rows(home)[-1].epsilon == pytest.approx(epsilon(events, 1e-3))


def test_the_same_request_gets_the_same_bytes_and_costs_nothing_again(home, weights, request_round):
    first, again = (answer(home, request_round(), weights) for _ in range(2))
    assert all(np.array_equal(first.update[name], again.update[name]) for name in first.update)
    assert len(rows(home)) == 1


def test_other_weights_for_the_same_round_are_another_release_and_are_paid_for(home, weights, request_round):
    first = answer(home, request_round(), weights)
    moved = {name: array + 0.01 for name, array in weights.items()}
    second = answer(home, request_round(), moved)
    assert not all(np.array_equal(first.update[name], second.update[name]) for name in first.update)
    assert len(rows(home)) == 2


def test_a_crash_before_payment_releases_nothing_and_the_answer_is_paid_for_when_it_is_sent(
    home, weights, request_round, monkeypatch
):
    crash_before_payment(home, request_round(), weights, monkeypatch)
    assert not home.ledger.path.exists()
    answer(home, request_round(), weights)
    assert len(rows(home)) == 1


def test_the_ledger_commits_before_the_answer_leaves(home, weights, request_round, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Home, "log_round", crash)
    with pytest.raises(KeyboardInterrupt):
        answer(home, request_round(), weights)
    assert len(rows(home)) == 1


def test_a_round_beyond_the_plans_epsilon_is_refused_and_not_recorded(home, weights, request_round):
    event = toy_plan().event(2)
    plan = toy_plan(seed=None, target_epsilon=epsilon([event] * 2, 1e-3))
    for round in (1, 2):
        answer(home, request_round(round, plan), weights)
    with pytest.raises(BudgetExceeded, match="nothing was released"):
        answer(home, request_round(3, plan), weights)
    assert len(rows(home)) == 2


def test_another_runs_name_does_not_open_a_new_budget(home, weights, request_round):
    home = make_home(home.folder, maximum_epsilon=epsilon([toy_plan().event(2)], 1e-3))
    answer(home, request_round(run="one"), weights)
    with pytest.raises(BudgetExceeded, match="over all runs"):
        answer(home, request_round(run="two"), weights)


def test_a_refused_request_costs_no_training_and_no_budget(home, weights, request_round, monkeypatch):
    monkeypatch.setattr(local, "train", None)
    with pytest.raises(Refusal, match="without privacy is not allowed"):
        answer(home, request_round(plan=None), weights)
    exhausted = make_home(home.folder, maximum_epsilon=0.01)
    with pytest.raises(BudgetExceeded, match="over all runs"):
        answer(exhausted, request_round(), weights)
    assert not home.ledger.path.exists()


def test_the_plan_of_a_run_cannot_change_once_it_has_begun(home, weights, request_round):
    answer(home, request_round(1), weights)
    for change in ({"noise_multiplier": 1.01}, {"declared_patients": 5}, {"steps": 5}, {"max_grad_norm": 0.4}):
        changed = toy_plan(seed=None, target_epsilon=1000.0, **change)
        with pytest.raises(Refusal, match="not the one this run began with"):
            answer(home, request_round(2, changed), weights)
    assert len(rows(home)) == 1
    answer(home, request_round(2), weights)


def test_a_plan_whose_noise_is_shared_is_never_answered_alone(home, weights, request_round):
    shared = toy_plan(seed=None, target_epsilon=1000.0, sharing=NoiseSharing(sites=3))
    with pytest.raises(Refusal, match="secure aggregation alone"):
        answer(home, request_round(plan=shared), weights)


def test_adaptive_clipping_is_answered_again_with_the_same_norm(home, weights, request_round):
    plan = toy_plan(seed=None, target_epsilon=1000.0, adaptive=AdaptiveClipping())
    first, again = (answer(home, request_round(plan=plan), weights) for _ in range(2))
    assert first.max_grad_norm == again.max_grad_norm is not None
    assert len(rows(home)) == 1


def test_an_answer_made_from_other_patients_is_never_sent_for_the_ones_who_are_here_now(
    home, weights, request_round, monkeypatch
):
    """A crash before payment, the data prepared anew, the same request: the old answer would go out, and the patients
    it was made from would not be the ones who pay."""

    crash_before_payment(home, request_round(), weights, monkeypatch)
    left_behind, _ = load_weights(home.outbox("run"))
    toy_slices([2, 3, 2, 2], seed=9, first=20).save(home.folder / "slices.safetensors")
    update = answer(home, request_round(), weights).update
    assert not all(np.array_equal(update[name], left_behind[name]) for name in update)


def test_without_privacy_the_loss_is_told_and_no_ledger_begun(home, weights, request_round):
    home = make_home(home.folder, allow_without_privacy=True)
    assert answer(home, request_round(plan=None), weights).loss > 0
    assert not home.ledger.path.exists()


def test_a_hostile_run_name_stays_in_the_outbox(home, weights, request_round):
    answer(home, request_round(run="../../etc/passwd"), weights)
    expected = {
        "slices.safetensors",
        "site.yaml",
        "identity.pem",
        "outbox",
        "plans",
        "members",
        "rounds.jsonl",
        "progress.json",
    }
    outside = {path.name for path in home.folder.iterdir()} - expected
    assert all(name.startswith("ledger.") for name in outside)
    assert len(list((home.folder / "outbox").iterdir())) == 1


def test_asking_by_turns_buys_no_free_release(home, weights, request_round):
    """A, B, A: the outbox keeps only the last answer, so the second A is a fresh release and is paid for."""
    moved = {name: array + 0.01 for name, array in weights.items()}
    first, _, again = (answer(home, request_round(), asked) for asked in (weights, moved, weights))
    assert not all(np.array_equal(first.update[name], again.update[name]) for name in first.update)
    assert len(rows(home)) == 3


def test_a_server_cannot_choose_the_noise(home, weights, request_round):
    with pytest.raises(Refusal, match="seeded"):
        answer(home, request_round(plan=toy_plan(seed=0, target_epsilon=1000.0)), weights)
    assert not home.ledger.path.exists()
