"""Both pages in a browser, as a coordinator and a data-protection officer have them: they show what there is, follow
it by themselves, and a press of a button reaches the running door."""

import re
import subprocess

import pytest
from browser import CHROMIUM, Browser
from homes import make_home
from hospitals import CMRFED, door
from watched import NAMES, troubled_run

from cmrfed.core.processes import stop
from cmrfed.door import BUNDLE, REFUSED, Question
from cmrfed.door.bundles import Bundles
from cmrfed.door.journal import read_journal
from cmrfed.door.sockets import ask

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")

APP = b"PK\x05\x06" + b"\0" * 18
"""An empty zip."""


@pytest.fixture
def window(tmp_path):
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


@pytest.fixture
def served():
    """Starts a command that serves a page; returns its link."""
    processes = []

    def start(*words):
        command = [*CMRFED, *words, "port=0"]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        return re.search(r"http\S+", processes[-1].stdout.readline())[0]

    yield start
    for process in processes:
        stop(process)


def test_a_coordinators_page_shows_sites_and_rounds_and_follows_the_run(window, served, tmp_path):
    arm = troubled_run(tmp_path / "hearts").folder
    window.open(served("server", "status", f"run={tmp_path / 'hearts'}", "web=true"))
    for told in (*NAMES, "3 of 6 rounds are done; round 4 is open", "North: refused", "West: not heard"):
        assert told in window.text()
    assert window.value("document.querySelectorAll('svg polyline').length") == 2, "held-out loss of two vendors"
    (arm / "stopped.txt").write_text("after 3 of 6 rounds: too few sites\n")
    window.wait_for("document.body.innerText.includes('stopped early, after 3 of 6 rounds: too few sites')")
    _looks_right(window)


def test_an_officer_pauses_resumes_and_approves(window, served, tmp_path):
    home, socket = make_home(tmp_path / "home", name="North", answer_interval_s=0.0).folder, tmp_path / "site.sock"
    asked = Question(action=BUNDLE, arrays={"bundle": APP})
    with door(home, socket):
        assert ask(socket, asked).refused
        window.open(served("site", "watch", f"home={home}"))
        assert "token" not in window.value("location.href") and "North" in window.text()
        assert window.value("document.cookie") == "", "no script reads it"
        window.press("Read and decide")
        window.press("Approve: it may ask from now on")
        window.wait_for("document.body.innerText.includes('None waits.')")
        assert ask(socket, asked).notes == {"site": "North"}
        window.value("document.querySelector('input[name=why]').value = 'audit on Monday'")
        window.press("Pause: answer nothing")
        window.wait_for("document.title === 'PAUSED: North'")
        assert "audit on Monday" in window.text()
        assert ask(socket, asked).notes == {"refused": REFUSED, "site": "North"}
        window.press("Resume: answer again")
        window.wait_for("document.title === 'North'")
        assert ask(socket, asked).notes == {"site": "North"}
        window.wait_for("[...document.querySelectorAll('#asked .mark')].length === 7")
        _looks_right(window)
    lines = list(read_journal(home / "journal.jsonl"))
    assert [line["action"] for line in lines] == [
        "bundle", "approve", "bundle", "pause", "bundle", "resume", "bundle",
    ]  # fmt: skip
    assert len(Bundles(home / "bundles").approved) == 1


def test_a_page_whose_program_was_ended_says_that_it_is_out_of_date(window, tmp_path):
    (tmp_path / "run").mkdir()
    command = [*CMRFED, "server", "status", f"run={tmp_path / 'run'}", "web=true", "port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        window.open(re.search(r"http\S+", process.stdout.readline())[0])
        assert window.value("document.getElementById('stale').hidden")
    finally:
        stop(process)
    window.wait_for("!document.getElementById('stale').hidden")


def _looks_right(window):
    """Nothing was blocked or failed, and a phone need not scroll the page sideways."""
    assert window.console == []
    for width in (1280, 400):
        window.resize(width)
        assert window.value("document.documentElement.scrollWidth <= window.innerWidth"), width
