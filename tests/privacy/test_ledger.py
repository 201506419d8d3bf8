"""A ledger forgets nothing: it chains, it refuses, and it notices what was changed."""

import multiprocessing
import sqlite3

import pytest

from cmrfed.config import UserError
from cmrfed.privacy import BudgetExceeded, GaussianEvent, Ledger, epsilon

EVENT = GaussianEvent(sample_rate=0.5, noise_multiplier=2.0, steps=5)


def pay(ledger, round=1, run="run", patients="patients", run_epsilon=100.0, total_epsilon=100.0):
    return ledger.record(patients, run, round, f"{run}-{round}", EVENT, 1e-4, run_epsilon, total_epsilon)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.sqlite")


def test_epsilon_in_the_ledger_is_that_of_all_rounds_so_far(ledger):
    for round in (1, 2, 3):
        assert pay(ledger, round).epsilon == pytest.approx(epsilon([EVENT] * round, 1e-4))
    assert [row.round for row in Ledger(ledger.path).entries()] == [1, 2, 3]


def test_the_same_patients_under_another_run_share_one_budget(ledger):
    pay(ledger, run="first")
    assert pay(ledger, run="second").epsilon == pytest.approx(epsilon([EVENT] * 2, 1e-4))
    assert pay(ledger, run="third", patients="others").epsilon == pytest.approx(epsilon([EVENT], 1e-4))


@pytest.mark.parametrize("limit", ["run_epsilon", "total_epsilon"])
def test_a_round_beyond_the_budget_is_refused_and_not_recorded(ledger, limit):
    allowed = epsilon([EVENT] * 2, 1e-4)
    pay(ledger, 1)
    pay(ledger, 2, **{limit: allowed})
    with pytest.raises(BudgetExceeded, match="nothing was released"):
        pay(ledger, 3, **{limit: allowed})
    assert len(ledger.entries()) == 2


def test_a_run_may_spend_what_earlier_runs_left(ledger):
    pay(ledger, run="first")
    pay(ledger, run="second", run_epsilon=epsilon([EVENT], 1e-4))
    with pytest.raises(BudgetExceeded, match="over all runs"):
        pay(ledger, run="third", total_epsilon=epsilon([EVENT] * 2, 1e-4))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET epsilon = 0.1 WHERE sequence = 2",
        "UPDATE ledger SET event = replace(event, '5', '1') WHERE sequence = 2",
        "DELETE FROM ledger WHERE sequence = 2",
        "UPDATE ledger SET hash = 'x' WHERE sequence = 2",
    ],
)
def test_a_row_that_was_changed_or_dropped_is_found_and_named(ledger, change):
    for round in (1, 2, 3):
        pay(ledger, round)
    with sqlite3.connect(ledger.path) as connection:
        connection.execute(change)
    with pytest.raises(UserError, match=r"row 2 of the ledger (was changed|is missing)"):
        ledger.entries()
    with pytest.raises(UserError):
        pay(ledger, 4)


def test_a_file_that_is_no_ledger_is_refused_in_one_line(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="the ledger cannot be used") as error:
        Ledger(tmp_path / "ledger.sqlite")
    assert "\n" not in str(error.value)


def test_two_processes_on_one_ledger_lose_no_row(ledger):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_pay_many, args=(ledger.path, name)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    rows = ledger.entries()
    assert [row.sequence for row in rows] == list(range(1, 9))
    assert {row.run for row in rows} == {"a", "b"}


def _pay_many(path, name):
    for round in range(4):
        Ledger(path).record(
            name, name, round, "r", GaussianEvent(sample_rate=1, noise_multiplier=5, steps=1), 1e-3, 99.0, 99.0
        )
