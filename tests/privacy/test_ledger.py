"""A ledger forgets nothing: it chains, it refuses, and it notices what was changed, cut off, put back or deleted."""

import hashlib
import json
import multiprocessing
import shutil
import sqlite3
import stat
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refuses

from cmrfed.privacy import BudgetExceeded, Cohort, GaussianEvent, Ledger, Limits, chain, epsilon, renyi_order
from cmrfed.privacy.chain import COLUMNS, GENESIS, Anchor

EVENT = GaussianEvent(sample_rate=0.5, noise_multiplier=2.0, steps=5)


def cohort(*names):
    return Cohort(
        b"".join(
            sorted(hashlib.sha256(n.encode()).digest() + hashlib.sha256(b"x" + n.encode()).digest() for n in names)
        )
    )


PATIENTS, OTHERS = cohort("a", "b"), cohort("c")


def limits(run_epsilon=100.0, total_epsilon=100.0):
    return Limits(run_epsilon, total_epsilon, delta=1e-4, order=renyi_order(8.0, 1e-4))


def pay(ledger, round=1, run="run", patients=PATIENTS, **allowed):
    return record(ledger, round, run, patients, **allowed)[0]


def record(ledger, round=1, run="run", patients=PATIENTS, **allowed):
    return ledger.record(patients, run, round, f"{run}-{round}", EVENT, limits(**allowed))


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "home" / "ledger.sqlite")


@pytest.fixture
def paid(ledger):
    """A ledger of four rows about two cohorts."""
    for round, patients in enumerate([PATIENTS, PATIENTS, OTHERS, PATIENTS], start=1):
        pay(ledger, round, patients=patients)
    return ledger


def tamper(ledger, *statements):
    """What somebody does who first drops the guards against accidents."""
    with sqlite3.connect(ledger.path) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)
    connection.close()


def stored(ledger):
    with sqlite3.connect(ledger.path) as connection:
        rows = [list(row) for row in connection.execute("SELECT * FROM ledger ORDER BY sequence")]
    connection.close()
    return rows


def rewrite(ledger, rows):
    """All rows anew, with hashes that fit: what a forger who knows the recipe can do."""
    previous = GENESIS
    for number, row in enumerate(rows, start=1):
        row[0], row[-2] = number, previous
        row[-1] = previous = hashlib.sha256(json.dumps([1, *row[:-1]]).encode()).hexdigest()
    insert = f"INSERT INTO ledger VALUES ({','.join('?' * len(COLUMNS))})"
    tamper(ledger, "DELETE FROM ledger", *((insert, row) for row in rows))


# what is recorded


def test_epsilon_in_the_ledger_is_that_of_all_rounds_so_far(ledger):
    for round in (1, 2, 3):
        assert pay(ledger, round).epsilon == epsilon([EVENT] * round, 1e-4) == ledger.spent(PATIENTS, 1e-4)
    assert [row.round for row in Ledger(ledger.path).rows()] == [1, 2, 3]


def test_the_same_patients_under_another_run_share_one_budget(ledger):
    pay(ledger, run="first")
    assert pay(ledger, run="second").epsilon == epsilon([EVENT] * 2, 1e-4)
    assert pay(ledger, run="third", patients=OTHERS).epsilon == epsilon([EVENT], 1e-4)
    assert [row.run for row in ledger.rows(PATIENTS.fingerprint)] == ["first", "second"]
    assert [row.fingerprint for row in ledger.rows(run="third")] == [OTHERS.fingerprint]


def test_a_row_comes_back_as_it_was_recorded(ledger):
    entry = pay(ledger)
    assert ledger.rows() == [entry]
    assert (entry.event, entry.delta, entry.request, entry.fingerprint) == (EVENT, 1e-4, "run-1", PATIENTS.fingerprint)


def test_a_round_beyond_the_runs_budget_is_refused_and_not_recorded(ledger):
    allowed = epsilon([EVENT] * 2, 1e-4)
    for round in (1, 2):
        ledger.refuse_beyond("run", EVENT, limits(run_epsilon=allowed))
        pay(ledger, round, run_epsilon=allowed)
    with pytest.raises(BudgetExceeded, match="nothing was released"):
        ledger.refuse_beyond("run", EVENT, limits(run_epsilon=allowed))
    with pytest.raises(BudgetExceeded, match="nothing was released"):
        pay(ledger, 3, run_epsilon=allowed)
    assert len(ledger.rows()) == 2


def test_whether_a_run_is_refused_does_not_depend_on_who_the_patients_are(ledger):
    """Two earlier studies of some patients, none of others: a run is begun, and ends, with either alike."""
    for round in range(6):
        pay(ledger, round, run="earlier")
    for patients in (PATIENTS, OTHERS, cohort("a", "z"), Cohort(b"")):
        run = f"run of {patients.fingerprint}"
        for round in (1, 2):
            record(ledger, round, run, patients, run_epsilon=epsilon([EVENT] * 2, 1e-4), total_epsilon=3.0)
        with pytest.raises(
            BudgetExceeded, match=r"the run to epsilon [\d.]+ at delta 0.0001, above the [\d.]+ of its plan"
        ):
            record(ledger, 3, run, patients, run_epsilon=epsilon([EVENT] * 2, 1e-4), total_epsilon=3.0)


def test_whoever_has_no_budget_left_is_left_out_and_the_others_go_on(ledger):
    allowed = epsilon([EVENT] * 2, 1e-4)
    for run in ("first", "second"):
        assert record(ledger, run=run, total_epsilon=allowed)[1] == PATIENTS
    entry, admitted = record(ledger, run="third", patients=cohort("a", "c"), total_epsilon=allowed)
    assert admitted == OTHERS and entry.fingerprint == OTHERS.fingerprint
    assert ledger.spent(PATIENTS, 1e-4) == allowed and ledger.spent(OTHERS, 1e-4) == epsilon([EVENT], 1e-4)


def test_where_nobody_has_budget_left_a_release_of_nobody_is_recorded_all_the_same(ledger):
    entry, admitted = record(ledger, total_epsilon=0.001)
    assert admitted.number_of_patients == 0 and entry.epsilon == 0.0
    assert [row.event for row in ledger.rows()] == [EVENT]
    assert ledger.verify().number_of_patients == 0
    assert pay(ledger, 2, total_epsilon=100.0).epsilon == epsilon([EVENT], 1e-4)


def test_asking_and_reading_leave_no_trace_and_the_first_row_is_the_owners_alone(ledger):
    assert ledger.rows() == []
    assert ledger.spent(PATIENTS, 1e-4) == 0.0
    assert ledger.paid("run", "run-1") is None
    ledger.refuse_beyond("run", EVENT, limits())
    with refuses(ledger.path, "there is no ledger"):
        ledger.verify()
    assert not ledger.path.parent.exists()
    pay(ledger)
    ledger.verify()
    assert {path.name for path in ledger.path.parent.iterdir()} == {"ledger.sqlite", "ledger.anchor"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in ledger.path.parent.iterdir()} == {0o600}


def test_a_refused_first_row_leaves_a_ledger_that_can_be_begun(ledger):
    with pytest.raises(BudgetExceeded):
        pay(ledger, run_epsilon=0.001)
    assert ledger.rows() == []
    assert pay(ledger).sequence == 1


def test_what_was_paid_for_is_known_by_its_run_and_receipt_with_whom_it_was_paid_for(paid):
    assert paid.paid("run", "run-1") == PATIENTS
    assert paid.paid("run", "run-3") == OTHERS
    assert paid.paid("run", "run-5") is None
    assert paid.paid("other", "run-1") is None


# what is found


def test_the_hash_is_the_documented_one_of_the_columns_as_stored(paid):
    previous = GENESIS
    for row in stored(paid):
        assert row[-2] == previous
        assert row[-1] == hashlib.sha256(json.dumps([1, *row[:-1]]).encode()).hexdigest()
        assert all(isinstance(value, str) for value in row[1:])
        previous = row[-1]
    assert paid.verify().head == previous


@pytest.mark.parametrize("row", [1, 2, 4])
@pytest.mark.parametrize("column", COLUMNS[1:])
def test_any_changed_column_is_found_and_its_row_named(paid, column, row):
    tamper(paid, f"UPDATE ledger SET {column} = {column} || ' ' WHERE sequence = {row}")
    for use in (paid.rows, paid.verify, lambda: pay(paid, 5), lambda: paid.spent(PATIENTS, 1e-4)):
        with refuses(paid.path, f"row {row} of the ledger was changed", "restore"):
            use()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.integers(1, 4),
    column=st.sampled_from(COLUMNS[1:]),
    value=st.one_of(
        st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.binary(), st.floats(), st.integers(0, 99)
    ),
)
def test_whatever_a_column_is_changed_to_is_found(paid, row, column, value):
    before = stored(paid)
    tamper(paid, (f"UPDATE ledger SET {column} = ? WHERE sequence = {row}", [value if value == value else "nan"]))
    if stored(paid) == before:
        return
    with refuses(f"row {row} of the ledger was changed"):
        paid.rows()
    tamper(paid, (f"UPDATE ledger SET {column} = ? WHERE sequence = {row}", [before[row - 1][COLUMNS.index(column)]]))
    paid.verify()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["DELETE FROM ledger WHERE sequence = 2"], "row 2 of the ledger is missing"),
        (["DELETE FROM ledger WHERE sequence = 1"], "row 1 of the ledger is missing"),
        (["UPDATE ledger SET sequence = 9 WHERE sequence = 3"], "row 3 of the ledger is missing"),
        (
            ["DELETE FROM ledger WHERE sequence = 2", "UPDATE ledger SET sequence = sequence - 1 WHERE sequence > 2"],
            "row 2 of the ledger was changed, inserted or moved",
        ),
        (
            [
                "UPDATE ledger SET sequence = sequence + 100 WHERE sequence > 2",
                f"INSERT INTO ledger SELECT 3, {','.join(COLUMNS[1:])} FROM ledger WHERE sequence = 2",
                "UPDATE ledger SET sequence = sequence - 99 WHERE sequence > 100",
            ],
            "row 3 of the ledger was changed, inserted or moved",
        ),
        (
            [
                "UPDATE ledger SET sequence = 100 WHERE sequence = 2",
                "UPDATE ledger SET sequence = 2 WHERE sequence = 3",
                "UPDATE ledger SET sequence = 3 WHERE sequence = 100",
            ],
            "row 2 of the ledger was changed, inserted or moved",
        ),
        (["DELETE FROM ledger WHERE sequence = 4"], "row 4 of the ledger is missing, and with it all after row 3"),
        (["DELETE FROM ledger WHERE sequence > 1"], "row 4 of the ledger is missing, and with it all after row 1"),
        (["DELETE FROM ledger"], "rows are missing"),
    ],
    ids=["dropped", "first", "renumbered", "closed up", "inserted", "swapped", "tail", "long tail", "all"],
)
def test_rows_that_were_dropped_inserted_moved_or_cut_off_are_found_and_named(paid, changes, said):
    tamper(paid, *changes)
    for use in (paid.rows, paid.verify, lambda: pay(paid, 5)):
        with refuses(paid.path, said, "restore"):
            use()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE cohorts SET members = zeroblob(128) WHERE length(members) = 128", "row 1 of the ledger were changed"),
        ("UPDATE cohorts SET members = substr(members, 1, 64) WHERE length(members) = 128", "row 1 of the ledger were"),
        ("UPDATE cohorts SET members = 'text' WHERE length(members) = 64", "row 3 of the ledger were changed"),
        ("DELETE FROM cohorts WHERE length(members) = 64", "patients of row 3 of the ledger are missing"),
        ("DELETE FROM cohorts", "patients of row 1 of the ledger are missing"),
        ("UPDATE cohorts SET fingerprint = 'x' WHERE length(members) = 64", "row 3 of the ledger are missing"),
        ("INSERT INTO cohorts VALUES ('abc', zeroblob(64))", "patients of no row (abc)"),
    ],
)  # fmt: skip
def test_patients_that_were_changed_or_are_missing_are_found_and_named(paid, change, said):
    tamper(paid, change)
    for use in (paid.rows, paid.verify, lambda: pay(paid, 5)):
        with refuses(paid.path, said, "restore"):
            use()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_an_older_copy_put_back_is_found(ledger, rows, tmp_path):
    copy = tmp_path / "copy.sqlite"
    copy.touch()
    for round in range(1, 5):
        pay(ledger, round)
        if round == rows:
            shutil.copy(ledger.path, copy)
    shutil.copy(copy, ledger.path)
    for use in (ledger.rows, ledger.verify, lambda: pay(ledger, 5), lambda: ledger.spent(PATIENTS, 1e-4)):
        with refuses(ledger.path, "missing", f"all after row {rows}", "what these patients have spent is not known"):
            use()


def test_a_deleted_ledger_is_found_and_no_new_one_is_begun(paid):
    paid.path.unlink()
    asked = lambda: paid.refuse_beyond("run", EVENT, limits())  # noqa: E731
    for use in (paid.rows, paid.verify, lambda: pay(paid, 5), lambda: paid.spent(PATIENTS, 1e-4), asked):
        with refuses(paid.path, "is missing, and had 4 rows", "restore"):
            use()
    assert not paid.path.exists()


def test_an_anchor_that_is_missing_or_no_anchor_is_found(paid):
    anchor = paid.anchor.path
    anchor.write_text("{}")
    with refuses(anchor, "sequence"):
        paid.rows()
    anchor.write_bytes(b"\xff\xfe")
    with refuses(anchor, "restore"):
        paid.rows()
    anchor.unlink()
    for use in (paid.rows, lambda: pay(paid, 5)):
        with refuses(anchor, "is missing", "restore"):
            use()


def test_another_ledger_in_its_place_is_found(paid, tmp_path):
    other = Ledger(tmp_path / "other" / "ledger.sqlite")
    for round in range(1, 8):
        pay(other, round)
    shutil.copy(other.path, paid.path)
    with refuses("row 4 of the ledger is not the one in ledger.anchor"):
        paid.rows()


def test_rewriting_ledger_and_anchor_together_is_found_by_a_head_kept_elsewhere(paid):
    kept = paid.verify().head
    pay(paid, 5)
    assert paid.verify(head=kept).head != kept, "a head stays good as rows follow"
    rows = stored(paid)
    rows[1][COLUMNS.index("epsilon")] = "0.1"
    rewrite(paid, rows)
    with refuses("row 5 of the ledger is not the one in ledger.anchor"):
        paid.verify()
    paid.anchor.write(chain.Head(sequence=5, hash=stored(paid)[-1][-1]))
    paid.verify()  # nobody can tell from these two files alone
    with refuses(paid.path, kept, "rewritten"):
        paid.verify(head=kept)


def test_older_copies_of_both_files_are_found_by_a_head_kept_elsewhere(paid, tmp_path):
    backup = shutil.copytree(paid.path.parent, tmp_path / "backup")
    kept = pay(paid, 5).hash
    shutil.copytree(backup, paid.path.parent, dirs_exist_ok=True)
    assert len(paid.rows()) == 4
    with refuses(kept, "an older copy"):
        paid.verify(head=kept)


def test_a_ledger_knows_each_of_its_heads_and_no_other_and_none_was_once_its_head(ledger):
    ledger.refuse_unknown(chain.GENESIS)
    with refuses("no row has hash", "older copy"):
        ledger.refuse_unknown("a" * 64)
    heads = [pay(ledger, round).hash for round in range(1, 4)]
    for head in [chain.GENESIS, *heads]:
        ledger.refuse_unknown(head)
    with refuses("no row has hash", "x" * 64) as refusal:
        ledger.refuse_unknown("x" * 10_000)
    assert refusal is None or len(str(refusal)) < 1000


def test_an_accident_in_sqlite_is_stopped(paid):
    for statement in (
        "UPDATE ledger SET epsilon = 0",
        "DELETE FROM ledger",
        "UPDATE cohorts SET members = x''",
        "DELETE FROM cohorts",
    ):
        with sqlite3.connect(paid.path) as connection, pytest.raises(sqlite3.IntegrityError, match="never changed"):
            connection.execute(statement)
    assert len(paid.rows()) == 4


# crashes and other processes


def test_a_crash_between_commit_and_anchor_heals_at_the_next_row(ledger, monkeypatch):
    for round in (1, 2, 3):
        with monkeypatch.context() as broken:
            broken.setattr(Ledger, "_anchor_head", _crash)
            with pytest.raises(KeyboardInterrupt):
                pay(ledger, round)
        assert [row.round for row in ledger.rows()] == list(range(1, round + 1)), "paid, and not released"
        anchored = ledger.anchor.read()
        assert (anchored.sequence if anchored else 0) == round - 1, "never more than one row behind"
    pay(ledger, 4)
    assert ledger.anchor.read().hash == ledger.verify().head


def test_a_crash_between_commit_and_anchor_heals_before_the_paid_answer_is_sent(ledger, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "_anchor_head", _crash)
        with pytest.raises(KeyboardInterrupt):
            pay(ledger)
    assert ledger.paid("run", "run-1")
    assert ledger.anchor.read().hash == ledger.verify().head


@pytest.mark.parametrize("rows", [0, 2])
def test_a_crash_before_the_commit_leaves_the_ledger_as_it_was(ledger, monkeypatch, rows):
    for round in range(rows):
        pay(ledger, round)
    with monkeypatch.context() as broken:
        broken.setattr("cmrfed.privacy.ledger._append", _append_and_crash)
        with pytest.raises(KeyboardInterrupt):
            pay(ledger, 9)
    assert len(ledger.rows()) == rows
    assert pay(ledger, 10).sequence == rows + 1


def _crash(*_):
    raise KeyboardInterrupt


def _append_and_crash(connection, row, new_cohort):
    from cmrfed.privacy.ledger import _TABLES

    if row["sequence"] == 1:
        for statement in _TABLES:
            connection.execute(statement)
    raise KeyboardInterrupt


def in_processes(target, *arguments):
    """Run `target` in one process for each tuple of arguments, all at once."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=target, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    yield workers
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


def test_two_processes_on_one_ledger_lose_no_row_and_a_reader_reads_on(ledger):
    epsilon([EVENT] * 8, 1e-4)
    processes = in_processes(_pay_many, (ledger.path, "a"), (ledger.path, "b"))
    workers = next(processes)
    seen = []
    while any(worker.is_alive() for worker in workers):
        seen.append(len(ledger.rows()))
    list(processes)
    assert seen == sorted(seen)
    rows = ledger.rows()
    assert [row.sequence for row in rows] == list(range(1, 41))
    assert [sum(row.run == name for row in rows) for name in ("a", "b")] == [20, 20]
    assert ledger.anchor.read().hash == rows[-1].hash


def _pay_many(path, name):
    event = GaussianEvent(sample_rate=1.0, noise_multiplier=50.0, steps=1)
    for round in range(20):
        Ledger(path).record(cohort(name), name, round, f"{round}", event, Limits(99.0, 99.0, 1e-3, order=3.0))


def test_of_two_processes_racing_for_the_last_epsilon_only_one_gets_it(ledger):
    pay(ledger)
    for attempt in range(5):
        allowed = epsilon([EVENT] * (attempt + 2), 1e-4)
        context = multiprocessing.get_context("fork")
        start, outcomes = context.Barrier(2), context.SimpleQueue()
        racers = in_processes(_race, *((ledger.path, run, allowed, start, outcomes) for run in ("x", "y")))
        list(racers)
        assert sorted([outcomes.get(), outcomes.get()]) == [0, 2]
        assert ledger.spent(PATIENTS, 1e-4) == allowed
    assert len(ledger.rows()) == 11


def _race(path, run, allowed, start, outcomes):
    start.wait(30)
    outcomes.put(record(Ledger(path), run=run, total_epsilon=allowed)[1].number_of_patients)


# old and new versions


class LaterEvent(GaussianEvent):
    """GaussianEvent as a later version may have it."""

    clipped_by: Literal["patient", "site"] = "patient"


def test_rows_from_before_the_noise_field_verify_and_mean_the_sites_own_noise(paid):
    rows = stored(paid)
    for row in rows:
        event = json.loads(row[COLUMNS.index("event")])
        event.pop("noise", None)
        row[COLUMNS.index("event")] = json.dumps(event)
    rewrite(paid, rows)
    paid.anchor.path.write_text(json.dumps({"sequence": 4, "hash": stored(paid)[-1][-1]}))
    assert {row.event for row in paid.verify().rows} == {EVENT}
    assert EVENT.noise == "local"
    assert pay(paid, 5).epsilon == epsilon([EVENT] * 4, 1e-4)


@pytest.mark.parametrize(("before", "today"), [("site", "local"), ("shared", "distributed")])
def test_rows_that_call_the_noise_by_its_first_name_verify_and_mean_the_same(paid, before, today):
    rows = stored(paid)
    for row in rows:
        event = json.loads(row[COLUMNS.index("event")]) | {"noise": before}
        row[COLUMNS.index("event")] = json.dumps(event)
    rewrite(paid, rows)
    paid.anchor.path.write_text(json.dumps({"sequence": 4, "hash": stored(paid)[-1][-1]}))
    assert {row.event for row in paid.verify().rows} == {EVENT.model_copy(update={"noise": today})}
    assert pay(paid, 5).epsilon == epsilon([EVENT] * 4, 1e-4)


def test_a_ledger_survives_fields_that_events_gain_later(paid, monkeypatch):
    monkeypatch.setitem(chain._EVENTS, "gaussian", LaterEvent)
    assert [row.event.clipped_by for row in paid.rows()] == ["patient"] * 4
    later = LaterEvent(**EVENT.model_dump(), clipped_by="site")
    paid.record(PATIENTS, "run", 5, "r", later, limits())
    assert paid.rows()[-1].event == later
    assert paid.spent(PATIENTS, 1e-4) == epsilon([EVENT] * 4, 1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clipped_by": "site"}, "its event has 'clipped_by', unknown to cmrfed"),
        ({"kind": "laplace"}, "its event is of kind 'laplace', unknown to cmrfed"),
        ({"noise": "borrowed"}, "noise: Input should be 'local' or 'distributed' (found 'borrowed')"),
        ({"steps": 0}, "steps"),
    ],
)
def test_events_this_version_does_not_understand_are_refused_by_name(paid, change, said):
    rows = stored(paid)
    rows[2][COLUMNS.index("event")] = json.dumps(json.loads(rows[2][COLUMNS.index("event")]) | change)
    rewrite(paid, rows)
    paid.anchor.path.write_text(json.dumps({"sequence": 4, "hash": stored(paid)[-1][-1]}))
    for use in (paid.rows, lambda: pay(paid, 5)):
        with refuses(paid.path, "row 3 of the ledger", said):
            use()


@pytest.mark.parametrize(("version", "said"), [(0, "of schema 0, not 1"), (2, "of schema 2, not 1")])
def test_a_ledger_of_another_schema_is_refused(paid, version, said):
    tamper(paid, f"PRAGMA user_version = {version}")
    for use in (paid.rows, lambda: pay(paid, 5)):
        with refuses(paid.path, said):
            use()


def test_a_ledger_of_the_first_schema_is_refused(ledger):
    ledger.path.parent.mkdir()
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE ledger (sequence INTEGER PRIMARY KEY, time TEXT NOT NULL)")
    connection.close()
    for use in (ledger.rows, lambda: pay(ledger)):
        with refuses(ledger.path, "is a ledger of schema 0, not 1"):
            use()


def test_a_file_that_is_no_ledger_is_refused_in_one_line(ledger):
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(b"not a database" * 100)
    for use in (ledger.rows, lambda: pay(ledger)):
        with refuses(ledger.path, "the ledger cannot be used"):
            use()


def test_a_place_that_cannot_hold_a_ledger_is_refused_in_one_line(ledger, tmp_path):
    ledger.path.mkdir(parents=True)
    with refuses(ledger.path, "the ledger cannot be used"):
        pay(ledger)
    (tmp_path / "file").touch()
    with refuses("ledger.anchor", "cannot be read (Not a directory)"):
        pay(Ledger(tmp_path / "file" / "ledger.sqlite"))


# a witness elsewhere


@pytest.fixture
def witnessed(ledger, tmp_path):
    """A ledger of three rows that a home of its own has seen, and three that another home wrote."""
    ours = Ledger(ledger.path, witness=tmp_path / "site" / "ledger.head")
    for round in (1, 2, 3):
        pay(ours, round)
    for round in (4, 5, 6):
        pay(Ledger(ledger.path, witness=tmp_path / "other" / "ledger.head"), round)
    return ours


def test_a_witness_that_others_left_behind_is_no_problem_and_catches_up(witnessed, tmp_path):
    assert Anchor(tmp_path / "site" / "ledger.head").read().sequence == 3
    assert len(witnessed.rows()) == 6
    last = pay(witnessed, 7)
    assert Anchor(tmp_path / "site" / "ledger.head").read().hash == last.hash


def test_a_ledger_that_lost_its_tail_and_its_anchor_is_found_by_the_witness(witnessed):
    tamper(witnessed, "DELETE FROM ledger WHERE sequence > 1")
    witnessed.anchor.write(chain.Head(sequence=1, hash=stored(witnessed)[-1][-1]))
    with refuses(witnessed.path, "row 3 of the ledger is missing", "restore"):
        witnessed.rows()


def test_a_ledger_of_one_row_without_its_anchor_is_found(ledger):
    pay(ledger)
    ledger.anchor.path.unlink()
    for use in (ledger.rows, ledger.verify, lambda: pay(ledger, 2)):
        with refuses(ledger.anchor.path, "is missing", "restore"):
            use()


@pytest.mark.parametrize("back", [False, True])
def test_a_deleted_pair_or_an_older_one_put_back_is_found_by_the_witness(witnessed, tmp_path, back):
    older = Ledger(tmp_path / "older" / "ledger.sqlite")
    pay(older)
    for ours, old in ((witnessed.path, older.path), (witnessed.anchor.path, older.anchor.path)):
        ours.unlink()
        if back:
            shutil.copy(old, ours)
    for use in (witnessed.rows, lambda: pay(witnessed, 8)):
        with refuses(witnessed.path, "missing", "restore"):
            use()


def test_an_anchor_is_replaced_whole(tmp_path):
    anchor = Anchor(tmp_path / "ledger.anchor")
    anchor.write(chain.Head(sequence=1, hash="a" * 64))
    anchor.write(chain.Head(sequence=2, hash="b" * 64))
    assert anchor.read() == chain.Head(sequence=2, hash="b" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.anchor"]
