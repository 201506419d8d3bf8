"""A site pays before it releases, answers a repeated request with the same bytes, and keeps to its own policy."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import toy_plan, toy_slices
from homes import answer, make_home
from refusals import refuses

from cmrfed.config import AdaptiveClipping
from cmrfed.generators import build_generator
from cmrfed.privacy import BudgetExceeded, NoPrivacy, SecureRandom, epsilon
from cmrfed.site import Home, Refusal, Request, local
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
    return home.ledger.rows()


def crash(*_, **__):
    raise KeyboardInterrupt


def crash_at(owner, name, home, request, weights, monkeypatch):
    """The site dies at a function of its way to the answer."""
    with monkeypatch.context() as broken:
        broken.setattr(owner, name, crash)
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


def test_the_last_answer_of_a_run_is_sent_again_though_nothing_of_its_budget_is_left(home, weights, request_round):
    plan = toy_plan(seed=None, target_epsilon=epsilon([toy_plan().event(2)], 1e-3), steps=2)
    first, again = (answer(home, request_round(plan=plan), weights) for _ in range(2))
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
    crash_at(type(home.ledger), "record", home, request_round(), weights, monkeypatch)
    assert not home.ledger.path.exists() and not home.outbox("run").exists()
    answer(home, request_round(), weights)
    assert len(rows(home)) == 1


def test_the_ledger_commits_before_patients_data_are_touched(home, weights, request_round, monkeypatch):
    crash_at(local, "train", home, request_round(), weights, monkeypatch)
    assert len(rows(home)) == 1 and not home.outbox("run").exists()


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_that_was_interrupted_after_payment_is_the_same_release_and_costs_nothing_again(
    home, weights, request_round, monkeypatch, late
):
    """Sample and noise are drawn again from the secret that was paid for, and the secret is gone with the answer."""
    drawn = []
    monkeypatch.setattr("cmrfed.privacy.plan.SecureRandom", lambda key=None: drawn.append(key) or SecureRandom(key))
    owner, name = (local, "_kept") if late else (local, "train")
    for _ in range(2):
        crash_at(owner, name, home, request_round(), weights, monkeypatch)
    again = answer(home, request_round(), weights)
    assert len(rows(home)) == 1
    assert len(drawn) == 3 and len(set(drawn)) == 1
    assert list((home.folder / "attempts").iterdir()) == []
    repeated = answer(home, request_round(), weights)
    assert all(np.array_equal(again.update[one], repeated.update[one]) for one in again.update)
    answer(home, request_round(2), weights)
    assert len(rows(home)) == 2 and len(set(drawn)) == 2


def test_the_secret_of_an_attempt_is_for_the_owner_alone(home, weights, request_round, monkeypatch):
    crash_at(local, "train", home, request_round(), weights, monkeypatch)
    (attempt,) = (home.folder / "attempts").iterdir()
    assert attempt.stat().st_mode & 0o777 == 0o600


def test_a_failure_after_sampling_was_paid_for(home, weights, request_round, monkeypatch):
    """As out of memory, which may depend on who was sampled."""

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(local, "train", fail)
    for _ in range(3):
        with pytest.raises(MemoryError):
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


def test_another_runs_name_does_not_open_a_new_budget(home, weights, request_round, monkeypatch):
    """Those who have spent theirs take no further part, and whoever asks gets an answer of the same form."""
    trained = []
    train = local.train
    monkeypatch.setattr(
        local, "train", lambda _, slices, *rest, **more: trained.append(slices) or train(_, slices, *rest, **more)
    )
    short = toy_plan(seed=None, target_epsilon=1000.0, steps=2)
    home = make_home(home.folder, maximum_epsilon=epsilon([short.event(2)], 1e-3))
    first = answer(home, request_round(run="one", plan=short), weights)
    toy_slices([2, 3, 2, 2, 4]).save(home.folder / "slices.safetensors")
    second = answer(home, request_round(run="two", plan=short), weights)
    third = answer(home, request_round(run="three", plan=short), weights)
    assert [slices.patient_names for slices in trained] == [
        ("toy-0", "toy-1", "toy-2", "toy-3"),
        ("toy-4",),
        (),
    ]
    for later in (second, third):
        assert {n: a.shape for n, a in later.update.items()} == {n: a.shape for n, a in first.update.items()}
        assert later.event == first.event


@pytest.mark.parametrize("earlier", [0, 2])
def test_the_form_of_an_answer_is_the_same_for_neighbouring_data_sets(tmp_path, weights, request_round, earlier):
    """One patient more, who took part in nothing or has spent everything; asked for until the run's budget ends."""
    plan = toy_plan(seed=None, target_epsilon=epsilon([toy_plan().event(2)] * 2, 1e-3), steps=4)
    forms = []
    for name, patients in (("without", [2, 3, 2]), ("with", [2, 3, 2, 2])):
        home = make_home(tmp_path / name, maximum_epsilon=epsilon([plan.event(4)], 1e-3))
        toy_slices([2, 3, 2, 2]).subset(["toy-3"]).save(home.folder / "slices.safetensors")
        for run in range(earlier):
            answer(home, request_round(run=f"earlier {run}", plan=plan), weights)
        toy_slices([2, 3, 2, 2]).subset([f"toy-{n}" for n in range(len(patients))]).save(
            home.folder / "slices.safetensors"
        )
        forms.append([form(home, request_round(round, plan), weights) for round in (1, 2, 3)])
    assert forms[0] == forms[1]
    assert forms[0][2] == BudgetExceeded


def form(home, request, weights):
    """All of an answer but its noised values."""
    try:
        run = answer(home, request, weights)
    except Exception as refusal:
        return type(refusal)
    return run.event, run.loss, run.max_grad_norm, {name: (a.shape, a.dtype) for name, a in run.update.items()}


def test_a_refused_request_costs_no_training_and_no_budget(home, weights, request_round, monkeypatch):
    monkeypatch.setattr(local, "train", None)
    with pytest.raises(Refusal, match="without privacy is not allowed"):
        answer(home, request_round(plan=NoPrivacy()), weights)
    strict = make_home(home.folder, maximum_epsilon=0.01)
    with pytest.raises(Refusal, match=r"epsilon of the whole run .* is above the allowed 0.01"):
        answer(strict, request_round(), weights)
    assert not home.ledger.path.exists()


def test_no_request_however_small_its_target_tells_how_many_patients_there_are(tmp_path, weights, request_round):
    """Twelve requests with a target of next to nothing once told the number exactly; now all are refused alike."""
    answers = set()
    for patients in (1, 60):
        home = make_home(tmp_path / f"{patients}")
        toy_slices([1] * patients, size=8).save(home.folder / "slices.safetensors")
        for run in range(4):
            with pytest.raises(BudgetExceeded) as refused:
                answer(home, request_round(run=f"{run}", plan=toy_plan(seed=None, target_epsilon=1e-6)), weights)
            answers.add(str(refused.value))
        assert rows(home) == []
    assert len(answers) == 1


def test_a_copied_home_goes_on_with_what_was_spent(tmp_path, weights, request_round):
    first = make_home(tmp_path / "a" / "home", ledger=str(tmp_path / "hospital" / "ledger.sqlite"))
    answer(first, request_round(), weights)
    second = Home(Path(shutil.copytree(first.folder, tmp_path / "b" / "home")))
    moved = {name: array + 0.01 for name, array in weights.items()}
    answer(second, request_round(2), moved)
    assert len(rows(first)) == len(rows(second)) == 2
    assert rows(second)[-1].epsilon == pytest.approx(epsilon([toy_plan().event(2)] * 2, 1e-3))


def test_a_ledger_that_an_earlier_version_left_in_the_home_is_not_forgotten(home, weights, request_round):
    (home.folder / "ledger.sqlite").touch()
    with refuses(home.folder / "ledger.sqlite", "must not be forgotten", "site.yaml"):
        answer(home, request_round(), weights)
    kept = make_home(home.folder, ledger="ledger.sqlite")
    answer(kept, request_round(), weights)
    assert kept.ledger.path == home.folder / "ledger.sqlite"


def test_a_calibration_by_renyi_dp_is_held_to_by_the_sites(home, weights, request_round):
    """So little noise that PRV cannot bound it: the accountant that the plan names decides."""
    plan = toy_plan(
        seed=None, noise_multiplier=0.3, sample_rate=1.0, steps=6, accountant="rdp",
        target_epsilon=epsilon([toy_plan(noise_multiplier=0.3, sample_rate=1.0).event(6)], 1e-3, "rdp"),
    )  # fmt: skip
    for round in (1, 2, 3):
        answer(home, request_round(round, plan), weights)
    with pytest.raises(BudgetExceeded):
        answer(home, request_round(4, plan), weights)


def test_how_a_site_computes_is_its_own_matter(home, weights, request_round, monkeypatch):
    asked = request_round()
    training = asked.task.training.model_copy(update={"rows_at_once": 10_000, "device": "cuda:7", "threads": 64})
    asked = asked.model_copy(update={"task": asked.task.model_copy(update={"training": training})})
    done = []
    train = local.train
    monkeypatch.setattr(
        local, "train", lambda g, s, task, *rest, **more: done.append(task) or train(g, s, task, *rest, **more)
    )
    answer(home, asked, weights)
    assert done[0].training.execution == home.policy.execution
    assert done[0].training.learning_rate == training.learning_rate


def test_a_round_that_takes_too_long_releases_nothing_and_was_paid_for(home, weights, request_round):
    slow = make_home(home.folder, maximum_seconds=1e-9)
    with refuses("site policy: the round took more than 1e-09 seconds"):
        answer(slow, request_round(), weights)
    assert len(rows(slow)) == 1 and not slow.outbox("run").exists()


def test_the_plan_of_a_run_cannot_change_once_it_has_begun(home, weights, request_round):
    answer(home, request_round(1), weights)
    for change in ({"noise_multiplier": 1.01}, {"declared_patients": 5}, {"steps": 5}, {"max_grad_norm": 0.4}):
        changed = toy_plan(seed=None, target_epsilon=1000.0, **change)
        with pytest.raises(Refusal, match="not the one this run began with"):
            answer(home, request_round(2, changed), weights)
    assert len(rows(home)) == 1
    answer(home, request_round(2), weights)


def test_a_plan_whose_noise_is_shared_is_never_answered_alone(home, weights, request_round):
    distributed = toy_plan(seed=None, target_epsilon=1000.0, sites=3)
    with pytest.raises(Refusal, match="secure aggregation alone"):
        answer(home, request_round(plan=distributed), weights)


def test_adaptive_clipping_is_answered_again_with_the_same_norm(home, weights, request_round):
    plan = toy_plan(seed=None, target_epsilon=1000.0, adaptive=AdaptiveClipping())
    first, again = (answer(home, request_round(plan=plan), weights) for _ in range(2))
    assert first.max_grad_norm == again.max_grad_norm is not None
    assert len(rows(home)) == 1


def test_an_answer_made_from_other_patients_is_never_sent_for_the_ones_who_are_here_now(
    home, weights, request_round, monkeypatch
):
    """A crash before the answer left, the data prepared anew, the same request: the old answer would go out, and the
    patients it was made from would not be the ones who pay."""

    crash_at(Home, "log_round", home, request_round(), weights, monkeypatch)
    left_behind, _ = load_weights(home.outbox("run"))
    toy_slices([2, 3, 2, 2], seed=9, first=20).save(home.folder / "slices.safetensors")
    update = answer(home, request_round(), weights).update
    assert not all(np.array_equal(update[name], left_behind[name]) for name in update)
    assert len({row.fingerprint for row in rows(home)}) == 2


def test_without_privacy_the_loss_is_told_and_no_ledger_begun(home, weights, request_round):
    home = make_home(home.folder, allow_without_privacy=True)
    assert answer(home, request_round(plan=NoPrivacy()), weights).loss > 0
    assert not home.ledger.path.exists()


def test_a_hostile_run_name_stays_in_the_outbox(home, weights, request_round):
    answer(home, request_round(run="../../etc/passwd"), weights)
    expected = {
        "slices.safetensors",
        "site.yaml",
        "identity.pem",
        "attempts",
        "outbox",
        "plans",
        "members",
        "weights",
        "ledger",
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
