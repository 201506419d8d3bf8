"""What the hospital's own people decide takes effect, once, and is in the journal, whatever else is wrong."""

import os
import threading

import pytest
from homes import make_home
from refusals import refuses
from test_bundles import FIRST, SECOND, named

from cmrfed.door import decisions as made
from cmrfed.door.decisions import Decisions
from cmrfed.door.journal import read_journal
from cmrfed.site.pause import Paused, read_pause, refuse_paused


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home").folder


def noted(home):
    return [(line["action"], line["decision"], line["reason"]) for line in read_journal(home / "journal.jsonl")]


def test_a_pause_says_who_when_and_why_and_is_the_owners_alone_to_read(home, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "officer")
    pause = Decisions(home).pause("audit\non \x1b[31mMonday\u202e")
    assert pause == read_pause(home) and pause.why == "audit on [31mMonday"
    assert pause.by.endswith("(sudo: officer)")
    assert (home / "paused.json").stat().st_mode & 0o777 == 0o600
    with refuses("paused since", "officer", "audit"):
        refuse_paused(home)
    (line,) = read_journal(home / "journal.jsonl")
    told = {name: line[name] for name in ("action", "decision", "account", "process", "by", "way", "reason")}
    assert told == {
        "action": "pause", "decision": "decided here", "account": os.geteuid(), "process": os.getpid(),
        "by": pause.by, "way": "command", "reason": pause.why,
    }  # fmt: skip


def test_a_second_pause_keeps_the_first_and_a_second_resume_changes_nothing(home):
    first = Decisions(home).pause("first")
    assert Decisions(home, "page").pause("second") == first
    assert Decisions(home).resume() == first and Decisions(home).resume() is None
    refuse_paused(home)
    assert [action for action, *_ in noted(home)] == ["pause", "resume"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"since": 1}', "x" * 1000])
def test_a_pause_that_cannot_be_read_pauses_too_and_can_be_ended(home, content):
    (home / "paused.json").write_text(content)
    with pytest.raises(Paused, match="cannot be read"):
        refuse_paused(home)
    assert Decisions(home).resume()
    refuse_paused(home)


def test_a_link_that_leads_nowhere_pauses_too(home):
    (home / "paused.json").symlink_to(home / "nowhere")
    with pytest.raises(Paused):
        refuse_paused(home)


def test_a_journal_that_was_changed_keeps_nobody_from_pausing_and_lets_nobody_resume_or_approve(home):
    Decisions(home).bundles.admits(FIRST)
    (home / "journal.jsonl").write_text("{}\n")
    with refuses("it is done", "not in the journal"):
        Decisions(home).pause()
    for opening in (Decisions(home).resume, lambda: Decisions(home).approve(named(FIRST))):
        with refuses("does not follow"):
            opening()
    assert read_pause(home) and Decisions(home).bundles.approved == ()


def test_apps_are_approved_and_withdrawn_and_both_are_in_the_journal(home):
    decisions = Decisions(home, "page")
    decisions.bundles.admits(FIRST)
    decisions.approve(named(FIRST))
    assert decisions.bundles.admits(FIRST)
    decisions.withdraw(named(FIRST))
    assert not decisions.bundles.admits(FIRST)
    assert [(line["action"], line["bundle"], line["way"]) for line in read_journal(home / "journal.jsonl")] == [
        ("approve", named(FIRST), "page"), ("withdraw", named(FIRST), "page"),
    ]  # fmt: skip


def test_what_cannot_be_decided_is_not_in_the_journal(home):
    with refuses("holds no bundle"):
        Decisions(home).approve(named(SECOND))
    with refuses("nothing to withdraw"):
        Decisions(home).withdraw(named(SECOND))
    assert not (home / "journal.jsonl").exists()


def test_decisions_at_the_same_time_lose_none(home):
    """A page's and a command's: each reads the list of bundles and writes it again."""
    contents = [b"app %d" % number for number in range(8)]
    for content in contents:
        Decisions(home).bundles.admits(content)
    hands = [threading.Thread(target=Decisions(home).approve, args=(named(content),)) for content in contents]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert set(Decisions(home).bundles.approved) == set(map(named, contents))
    assert len(noted(home)) == len(contents)


def test_another_account_than_the_homes_owner_is_told_whose_it_is(home, monkeypatch):
    monkeypatch.setattr(made.os, "geteuid", lambda: home.stat().st_uid + 1)
    with refuses(home, "belongs to account", "sudo -u"):
        Decisions(home)
