import re
from html import unescape

import pytest
from finished_runs import CONFIG, PLAN, lay_out, results
from refusals import refuses

from cmrfed.report import is_comparison, write_comparison


def run_of(folder, epsilon, dice, seed=0, **changes):
    found = results(private=dice) | {"evaluation": {"bootstrap": 100}} | changes
    for site in found["sites"].values():
        site["epsilon"] = epsilon
    plan = None if epsilon is None else PLAN.model_copy(update={"target_epsilon": epsilon})
    return lay_out(folder, found, plan, CONFIG.model_copy(update={"seed": seed}))


def text_of(path) -> str:
    html = re.sub(r"<style>.*?</style>", "", path.read_text(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.fixture
def page(tmp_path):
    runs = [run_of(tmp_path / "a", 1.0, 0.61), run_of(tmp_path / "b", 8.0, 0.72)]
    return write_comparison(runs, tmp_path / "out" / "compare.html")


def test_every_runs_scores_stand_side_by_side(page):
    text = text_of(page)
    for row in (
        "synthetic images 0.61 [0.59, 0.63] 0.72 [0.70, 0.74]",
        "ε spent, at most 1.00 δ = 0.0001 8.00",
        "loss 0.53",
    ):
        assert row in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Not everything here may be compared" not in text


def test_it_is_one_offline_file_with_a_picture_of_what_privacy_costs(page):
    html = page.read_text()
    assert not re.search(r"https?:|<script|<link|src=\"(?!data:)", html)
    assert "Usefulness by privacy budget" in html


def test_runs_that_were_not_measured_alike_are_said_to_be_so(tmp_path):
    runs = [run_of(tmp_path / "a", 1.0, 0.6), run_of(tmp_path / "b", 1.0, 0.6, seed=1, evaluation={"bootstrap": 200})]
    text = text_of(write_comparison(runs, tmp_path / "compare.html"))
    assert "Other patients were held out" in text
    assert "evaluated with other settings" in text
    assert "Usefulness by privacy budget" not in text  # of one epsilon there is nothing to draw


def test_what_a_run_did_not_measure_is_a_dash(tmp_path):
    first, second = run_of(tmp_path / "a", 1.0, 0.6), run_of(tmp_path / "b", 2.0, 0.6, arms={"private": {}})
    assert "synthetic images 0.60 [0.58, 0.62] –" in text_of(
        write_comparison([first, second], tmp_path / "compare.html")
    ).replace("\N{NO-BREAK SPACE}", " ")


def test_one_run_is_refused(tmp_path):
    with refuses("two or more"):
        write_comparison([run_of(tmp_path / "a", 1.0, 0.6)], tmp_path / "compare.html")


def test_a_page_of_ours_is_known_again_and_nobody_elses_is(page, tmp_path):
    assert is_comparison(page)
    (tmp_path / "theirs.html").write_text("<html><head><title>cmrfed report compare</title></head></html>")
    assert not is_comparison(tmp_path / "theirs.html")
    assert not is_comparison(tmp_path / "missing.html")
