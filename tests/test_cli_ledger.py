"""What a data-protection officer sees of a ledger: all of it, checked, and nothing that tells who the patients are."""

import csv
import hashlib
import json
import sqlite3

import pytest
from conftest import toy_slices

from cmrfed.privacy import Cohort, GaussianEvent, Ledger, Limits, epsilon

EVENT = GaussianEvent(sample_rate=0.5, noise_multiplier=1.5234, steps=6)
FOUR, SIX = Cohort.of(toy_slices([1] * 4)), Cohort.of(toy_slices([1] * 6))


@pytest.fixture
def run(run_cmrfed):
    """A ledger command; returns (exit code, what was printed)."""
    return lambda *arguments: run_cmrfed("ledger", *arguments)


@pytest.fixture
def ledger(tmp_path):
    """Three rows: two about four patients, then one about those and two more, in a run with a hostile name."""
    ledger = Ledger(tmp_path / "home" / "ledger.sqlite")
    limits = Limits(99.0, 99.0, 1e-3, order=3.0)
    for round in (1, 2):
        ledger.record(FOUR, "phantom/private", round, f"{round}", EVENT, limits)
    distributed = EVENT.model_copy(update={"noise": "distributed"})
    ledger.record(SIX, "=cmd()\x1b[31m[red]", 1, "3", distributed, limits)
    return ledger


@pytest.mark.parametrize("command", ["show", "verify", "export"])
def test_help_shows_how_each_is_used_and_a_missing_home_is_one_line(run, command):
    code, printed = run(command, "--help")
    assert code == 0
    assert f"cmrfed ledger {command} home=" in printed
    assert "Any key can be set" in printed
    code, printed = run(command)
    assert code == 2
    assert "home: has no value" in printed


def test_show_tells_each_row_in_words_and_the_totals(run, ledger):
    code, printed = run("show", "home=home")
    assert code == 0, printed
    assert "6 x Gaussian, sigma 1.52, q 0.5" in printed
    assert "noise: this site's own" in printed
    assert "noise: distributed over all sites" in printed
    for rows in (1, 2, 3):
        assert f"{epsilon([EVENT] * rows, 1e-3):.3f}" in printed
    totals = printed.split("Spent so far")[1]
    assert totals.count(f"{epsilon([EVENT] * 3, 1e-3):.3f} at delta 0.001") == 2, "the four are among the six"
    assert f"head: {ledger.verify().head}, row 3" in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert "\x1b[31m" not in printed


def test_show_keeps_to_the_last_rows_of_a_big_ledger(run, ledger):
    code, printed = run("show", "home=home", "rows=1")
    assert code == 0
    assert "the last 1 of 3 rows; rows=3 shows all" in printed
    assert "phantom/private" not in printed
    code, printed = run("show", "home=home", "rows=0")
    assert code == 2
    assert "rows" in printed


def test_verify_reassures_in_one_line(run, ledger):
    head = ledger.verify().head
    code, printed = run("verify", "home=home")
    assert code == 0
    first, second = printed.splitlines()
    assert first == f"the ledger is whole: 3 rows, 2 data sets, 6 patients; head {head}"
    assert second.startswith("Whether ledger, anchor and every home's ledger.head") and "head=..." in second
    first = ledger.rows()[0].hash
    code, printed = run("verify", "home=home", f"head={first}")
    assert code == 0
    assert "the head you kept is row 1;" in printed


@pytest.mark.parametrize(
    ("head", "said"), [("a" * 64, "no row has hash " + "a" * 64), ("abc", "head: String should match pattern")]
)
def test_a_head_that_is_not_in_the_ledger_ends_in_one_line(run, ledger, head, said):
    code, printed = run("verify", "home=home", f"head={head}")
    assert code == 2
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("command", [["show"], ["verify"], ["export", "out=x.json"]])
def test_a_bad_ledger_is_one_line_with_exit_code_2_and_nothing_is_shown_of_it(run, ledger, tmp_path, command):
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("DROP TRIGGER no_update_of_ledger")
        connection.execute("UPDATE ledger SET epsilon = '0.1' WHERE sequence = 2")
    connection.close()
    code, printed = run(*command, "home=home")
    assert code == 2
    assert "row 2 of the ledger was changed" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("command", [["show"], ["verify"], ["export", "out=x.json"]])
def test_where_there_is_no_ledger_none_is_made(run, tmp_path, command):
    code, printed = run(*command, "home=nowhere")
    assert code == 2
    assert f"{tmp_path / 'nowhere' / 'ledger.sqlite'}: there is no ledger" in printed
    assert list(tmp_path.iterdir()) == []


def test_an_export_can_be_checked_without_this_program_and_names_no_patient(run, ledger, tmp_path):
    code, printed = run("export", "home=home", "out=ledger.json")
    assert code == 0, printed
    text = (tmp_path / "ledger.json").read_text()
    record = json.loads(text)
    previous = "0" * 64
    for row in record["rows"]:
        values = [value for key, value in row.items() if key not in ("hash", "mechanism")]
        assert row["previous"] == previous
        previous = row["hash"]
        assert previous == hashlib.sha256(json.dumps([record["schema"], *values]).encode()).hexdigest()
    assert record["head"] == previous == ledger.verify().head
    assert [(each["patients"], each["rows"]) for each in record["data_sets"]] == [(4, 2), (6, 1)]
    assert [each["epsilon"] for each in record["data_sets"]] == [epsilon([EVENT] * 3, 1e-3)] * 2
    members = SIX.members.hex()
    assert not any(members[start : start + 64] in text for start in range(0, len(members), 64))


def test_a_spreadsheet_gets_every_row_and_no_formula(run, ledger, tmp_path):
    code, printed = run("export", "home=home", "out=ledger.csv")
    assert code == 0, printed
    with (tmp_path / "ledger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["hash"] for row in rows] == [row.hash for row in ledger.rows()]
    assert [row["patients"] for row in rows] == ["4", "4", "6"]
    assert rows[2]["run"].startswith("'=cmd()")


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("home/ledger.sqlite", "does not end in .json or .csv"),
        ("there.json", "is not overwritten"),
        ("no/x.csv", "no is no folder; make it first"),
    ],
)
def test_an_export_overwrites_nothing_and_leaves_nothing_half_written(run, ledger, tmp_path, out, said):
    (tmp_path / "there.json").write_text("kept")
    code, printed = run("export", "home=home", f"out={out}")
    assert code == 2
    assert said in printed
    assert printed.count("\n") == 1
    assert (tmp_path / "there.json").read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"home", "there.json"}
