"""server status, and site watch, pause and resume, as they are typed."""

import json
import re
import subprocess
import sys

import httpx
import pytest
from homes import make_home
from watched import NAMES, troubled_run

from cmrfed.core.processes import stop
from cmrfed.site.pause import read_pause


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return troubled_run(tmp_path_factory.mktemp("runs") / "hearts").folder.parents[1]


def test_status_is_a_table_that_fits_and_json_that_reads(run_cmrfed, run):
    code, printed = run_cmrfed("server", "status", f"run={run}")
    assert code == 0 and max(map(len, printed.splitlines())) <= 100
    for told in (*NAMES, "3 of 6 rounds are done; round 4 is open", "North: refused", "4, not", "not heard"):
        assert told in printed
    code, printed = run_cmrfed("server", "status", str(run), "format=json")
    assert code == 0 and json.loads(printed)["arms"][0]["done"] == 3


def test_status_of_nothing_is_one_line(run_cmrfed, tmp_path):
    assert run_cmrfed("server", "status", "run=nowhere")[0] == 2
    (tmp_path / "empty").mkdir()
    code, printed = run_cmrfed("server", "status", "run=empty")
    assert code == 0 and "not yet" in printed
    code, printed = run_cmrfed("server", "status", "run=empty", "federation=nowhere")
    assert code == 2 and "is no coordinator's folder" in printed


def test_pause_and_resume_say_what_they_did(run_in_one_line, tmp_path):
    home = make_home(tmp_path / "home").folder
    code, printed = run_in_one_line("site", "pause", "home=home", "why=audit, on Monday")
    assert code == 0 and "paused since" in printed and "audit, on Monday" in printed and read_pause(home)
    assert "answers again" in run_in_one_line("site", "resume", "home")[1] and read_pause(home) is None
    assert "was not paused" in run_in_one_line("site", "resume", "home")[1]
    assert run_in_one_line("site", "pause", "home=nowhere")[0] == 2


@pytest.mark.parametrize("word", ["address=0.0.0.0", "address=127.0.0.1"])
def test_a_sites_page_has_no_other_address(run_cmrfed, tmp_path, word):
    make_home(tmp_path / "home")
    code, printed = run_cmrfed("site", "watch", "home=home", word)
    assert code == 2 and "address" in printed


def test_both_pages_are_served_until_they_are_ended_and_then_say_so(run, tmp_path):
    home = make_home(tmp_path / "home").folder
    for words in (["server", "status", f"run={run}", "web=true"], ["site", "watch", f"home={home}"]):
        command = [sys.executable, "-m", "cmrfed.cli", *words, "port=0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            link = re.search(r"http://127\.0\.0\.1:\S+", process.stdout.readline())[0]
            with httpx.Client(follow_redirects=True, trust_env=False) as client:
                assert client.get(link).status_code == 200
            process.terminate()
            assert process.wait(30) == 143
            assert "Traceback" not in process.stderr.read()
        finally:
            stop(process)
