"""Runs are listed, told and taken away; what patients spent is never taken away with them."""

import json
import shutil

import pytest
from finished_runs import CONFIG, lay_out, results

from cmrfed.config import DataConfig
from cmrfed.runs import Run, at_work

PHANTOMS = CONFIG.model_copy(update={"data": DataConfig(root="data", sources={"phantom": "."})})


@pytest.fixture
def done(tmp_path):
    """A run on phantoms that is done, with the link to it."""
    folder = tmp_path / "runs" / "2026-01-02_03-04-05"
    lay_out(folder, results(epsilon_0=0.7, private=0.72), config=PHANTOMS)
    (folder / "report.html").write_text("a page", encoding="utf-8")
    (tmp_path / "runs" / "latest").symlink_to(folder.name)
    return folder


def test_runs_are_listed_the_newest_first_and_what_is_none_is_passed_over(run_in_one_line, tmp_path, done):
    newer = tmp_path / "runs" / "2026-02-02_03-04-05"
    shutil.copytree(done, newer)
    (newer / "report.html").unlink()
    other = tmp_path / "runs" / "2025-01-01_00-00-00"
    shutil.copytree(done, other)
    record = json.loads((other / "run.json").read_text(encoding="utf-8"))
    (other / "run.json").write_text(json.dumps(record | {"of_another_version": 1}), encoding="utf-8")
    (tmp_path / "runs" / "prepared").mkdir()
    code, printed = run_in_one_line("runs", "list")
    assert code == 0, printed
    places = [printed.index(one) for one in ("2026-02-02", "2026-01-02", "2025-01-01")]
    assert places == sorted(places)
    assert "2.35" in printed and "readable" in printed, "an epsilon is never rounded down"
    assert printed.count("*") == 2, "one run, and what the mark means"
    assert run_in_one_line("runs", "list", str(tmp_path / "nowhere"))[1].count("no runs yet") == 1


def test_a_run_is_told_in_the_words_of_its_report(run_in_one_line, done):
    code, printed = run_in_one_line("runs", "show", "runs/latest")
    assert code == 0, printed
    for said in ("2026-01-02_03-04-05", "3 held out", "Are the images useful?", "What is promised?", "report.html"):
        assert said in printed
    (done / "results.json").unlink()
    assert "cmrfed evaluate run=" in run_in_one_line("runs", "show", "runs/latest")[1]


def test_a_run_is_taken_away_whole_and_the_link_with_it(run_in_one_line, tmp_path, done):
    code, printed = run_in_one_line("runs", "rm", str(done))
    assert code == 2 and "yes=true" in printed and done.exists(), "nobody is there to be asked"
    code, printed = run_in_one_line("runs", "rm", str(done), "yes=true")
    assert code == 0, printed
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_at_work_and_the_ledger_of_real_patients_stay(run_in_one_line, tmp_path, done):
    with at_work(done):
        code, printed = run_in_one_line("runs", "rm", str(done), "yes=true")
    assert code == 2 and "another process is at work" in printed
    real = tmp_path / "runs" / "2026-03-03_00-00-00"
    lay_out(real, None)
    code, printed = run_in_one_line("runs", "rm", str(done), str(real), "yes=true")
    assert code == 2 and "is the ledger of real patients" in printed
    assert Run.open(real).sites and Run.open(done).sites, "of several, none goes where one may not"


def test_what_is_no_run_is_not_taken_away(run_in_one_line, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years", encoding="utf-8")
    code, printed = run_in_one_line("runs", "rm", "thesis", "yes=true")
    assert code == 2 and "is not a run" in printed
    assert (tmp_path / "thesis" / "chapter.tex").exists()
