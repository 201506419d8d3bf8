"""A hospital's door, served by a process of its own over a local socket."""

import json
import os
import socket
import threading
import time
from collections import Counter
from functools import cache
from multiprocessing import forkserver

import pytest
from conftest import toy_plan
from homes import make_home
from refusals import refuses

from cmrfed.core.packing import npy
from cmrfed.door import BUNDLE, REFUSED, Answer, Question, refusal
from cmrfed.door import daemon as served
from cmrfed.door.answering import answered
from cmrfed.door.daemon import Door, is_served, serve
from cmrfed.door.decisions import Decisions
from cmrfed.door.journal import read_journal
from cmrfed.door.messages import packed, unpacked
from cmrfed.door.sockets import ask, receive
from cmrfed.generators import build_generator
from cmrfed.site import Home, Request
from cmrfed.training import LocalTask
from cmrfed.updates import read_weights

DOORS = []
"""The one that is open while this module's tests run."""

SECURE = {"seed": None, "target_epsilon": 1000.0}


@cache
def weights(config):
    return {name: npy(array) for name, array in read_weights(build_generator(config, seed=0)).items()}


@pytest.fixture
def question(tiny_generator_config, fp32_training):
    """What a server asks of a site in one round."""

    def make(plan=None, run="run", round=1, **task):
        values = {"training": fp32_training, "plan": plan or toy_plan(**SECURE), "round": round, "rounds": 3} | task
        asked = Request(run=run, generator=tiny_generator_config, task=LocalTask(**values))
        documents = {"request": asked.model_dump_json()}
        return Question(action="train", documents=documents, arrays=weights(tiny_generator_config))

    return make


def begin(home, path, accounts):
    door = Door(home, frozenset(accounts))
    threading.Thread(target=serve, args=(door, path), daemon=True).start()
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return door


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(A home, the socket of its door), served for all tests of this module: its process takes seconds to begin."""
    folder = tmp_path_factory.mktemp("door")
    forkserver._forkserver._forkserver_pid = None  # as in a door's own process, which is to import once what answers
    home = make_home(folder / "home", answer_interval_s=0.0).folder
    door = begin(home, folder / "site.sock", [os.geteuid()])
    DOORS.append(door)
    yield home, folder / "site.sock"
    DOORS.remove(door)
    door.close()


def journal(home):
    return list(read_journal(home / "journal.jsonl"))


def test_an_answer_is_what_the_site_paid_for_and_is_in_the_journal_before_it_leaves(place, question):
    home, path = place
    found = ask(path, question())
    row = Home(home).ledger.rows()[-1]
    assert found.record == "update" and found.arrays
    assert found.notes == {"site": "here", "ledger_head": row.hash}
    line = journal(home)[-1]
    told = {name: line[name] for name in ("action", "run", "round", "decision", "account", "ledger_head")}
    wanted = {"action": "train", "run": "run", "round": "1", "decision": "answered", "account": os.geteuid()}
    assert told == wanted | {"ledger_head": row.hash}
    assert line["bytes_out"] > sum(map(len, found.arrays.values()))


def test_a_replayed_question_gets_the_same_bytes_and_costs_nothing(place, question):
    home, path = place
    first = ask(path, question(run="replayed"))
    rows = len(Home(home).ledger.rows())
    again = ask(path, question(run="replayed"))
    assert (again.arrays, again.notes) == (first.arrays, first.notes)
    assert len(Home(home).ledger.rows()) == rows
    one, two = journal(home)[-2:]
    assert one["answer"] == two["answer"] and one["question"] == two["question"]


def test_two_hundred_questions_with_other_numbers_get_one_answer(place, question):
    """What a policy forbids says nothing of the patients, however often and however it is asked; every tenth time
    through the door itself."""
    home, path = place
    asked = [question(toy_plan(**(SECURE | {"noise_multiplier": 0.001 + number / 1e4}))) for number in range(200)]
    answers = Counter(packed(answered(home, one).answer) for one in asked)
    answers.update(packed(ask(path, one)) for one in asked[::10])
    assert answers == {packed(refusal("here")): 220}
    assert {line["bytes_out"] for line in journal(home)[-20:]} == {journal(home)[-1]["bytes_out"]}
    assert "noise multiplier" in journal(home)[-1]["reason"], "the hospital is told"


@pytest.mark.parametrize("action", ["__class__", "../train", "evaluate", "x" * 100])
def test_what_is_not_in_the_table_cannot_be_asked(place, action):
    _, path = place
    assert ask(path, Question(action=action)).notes == {"refused": REFUSED, "site": "here"}


def test_a_process_that_is_killed_at_work_is_replaced_and_its_answer_is_drawn_again(place, question, monkeypatch):
    """As the system does when memory runs out. What was paid is paid once."""
    home, path = place
    training = json.loads(question().documents["request"])["task"]["training"] | {"local_steps": 60}
    slow = question(toy_plan(**SECURE, steps=180), run="killed", training=training)
    killer = threading.Thread(target=kill_when_paid, args=(home, "killed"))
    killer.start()
    assert ask(path, slow).notes == {"refused": REFUSED, "site": "here"}
    killer.join()
    assert "was killed" in journal(home)[-1]["reason"]
    assert ask(path, slow).record == "update"
    assert len(Home(home).ledger.rows(run="killed at here")) == 1


def kill_when_paid(home, run):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not Home(home).ledger.rows(run=f"{run} at here"):
        time.sleep(0.01)
    for process in DOORS[0]._worker._context.started:
        process.kill()


def test_a_round_that_outlasts_its_time_is_ended(place, question, monkeypatch):
    home, path = place
    monkeypatch.setattr(served, "_GRACE_S", -(24 * 3600 - 0.01))
    assert ask(path, question(run="slow")).notes == {"refused": REFUSED, "site": "here"}
    assert "took more than" in journal(home)[-1]["reason"]


def test_an_app_is_admitted_once_its_bundle_is_approved(place):
    _, path = place
    asked = Question(action=BUNDLE, arrays={"bundle": b"an app"})
    assert ask(path, asked).refused
    (waiting,) = DOORS[0].bundles.waiting()
    DOORS[0].bundles.approve(waiting)
    assert ask(path, asked).notes == {"site": "here"}


def test_garbage_is_answered_with_the_constant_and_what_is_too_long_is_not_read(place):
    home, path = place
    for sent in (b"", b"\x00" * 100, b"\x81" * 30_000):
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(path))
            visitor.sendall(len(sent).to_bytes(8, "big") + sent)
            assert unpacked(Answer, receive(visitor, 1000)).notes == {"refused": REFUSED, "site": "here"}
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))
        visitor.sendall((2**50).to_bytes(8, "big"))
        assert visitor.recv(1000) == b""
    assert journal(home)[-1]["decision"] == "not heard" and "larger than" in journal(home)[-1]["reason"]


def test_a_home_has_one_door(place):
    home, path = place
    with refuses("another `cmrfed site serve`"):
        serve(Door(home, frozenset()), path.with_name("other.sock"))


def test_another_account_is_not_heard(tmp_path, question):
    home = make_home(tmp_path / "home").folder
    path = tmp_path / "site.sock"
    begin(home, path, [os.geteuid() + 1])
    with refuses("nobody answers"):
        ask(path, question())
    (line,) = journal(home)
    assert (line["decision"], line["account"]) == ("not heard", os.geteuid())
    assert not (home / "plans").exists() and not (home / "refusals.jsonl").exists()


def test_an_answer_leaves_at_a_multiple_of_the_policys_interval_and_not_before(tmp_path):
    home = make_home(tmp_path / "home", answer_interval_s=0.5).folder
    path = tmp_path / "site.sock"
    door = begin(home, path, [os.geteuid()])
    times = []
    for seconds in (0.0, 0.2, 0.6):
        door._admitted = lambda *_, wait=seconds: time.sleep(wait) or served.Outcome(served.refusal())
        before = time.monotonic()
        ask(path, Question(action=BUNDLE))
        times.append(time.monotonic() - before)
    for found, wanted in zip(times, (0.5, 0.5, 1.0), strict=True):
        assert wanted <= found < wanted + 0.3


def test_nothing_leaves_that_is_not_in_the_journal(tmp_path, question, monkeypatch):
    """As where the disk is full."""
    home = make_home(tmp_path / "home").folder
    path = tmp_path / "site.sock"
    door = begin(home, path, [os.geteuid()])

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(door.journal, "add", full)
    with refuses("nobody answers"):
        ask(path, Question(action=BUNDLE))


def test_a_socket_that_cannot_be_given_to_the_nodes_group_is_not_left_behind(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(served.os, "chown", refused)
    told, path = [], tmp_path / "site.sock"
    with refuses("node_account", "adduser"):
        serve(Door(make_home(tmp_path / "home").folder, frozenset()), path, 12345, lambda: told.append("ready"))
    assert told == [] and not path.exists()


def test_a_socket_that_a_killed_door_left_behind_is_replaced(tmp_path):
    home = make_home(tmp_path / "home", answer_interval_s=0.0).folder
    path = tmp_path / "site.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    begin(home, path, [os.geteuid()])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            assert ask(path, Question(action=BUNDLE)).refused
            return
        except Exception:
            time.sleep(0.05)
    raise AssertionError("nobody answers")


def test_whoever_is_silent_holds_nobody_up(place, question):
    _, path = place
    silent = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for visitor in silent:
        visitor.connect(str(path))
    assert ask(path, Question(action="nothing")).refused
    for visitor in silent:
        visitor.close()


# pauses


@pytest.fixture
def paused(place):
    home, _ = place
    Decisions(home).pause("complaint of Jane Doe")
    yield home
    Decisions(home).resume()


def test_a_paused_site_refuses_whatever_is_asked_with_the_constant_and_touches_nothing(place, paused, question):
    """The running door, without being started again; in the process that computes as well."""
    home, path = place
    before = {file: file.stat().st_mtime_ns for file in home.rglob("*") if file.is_file()}
    rows = len(Home(home).ledger.rows())
    approved = Question(action=BUNDLE, arrays={"bundle": b"an app"})
    for asked in (question(run="paused"), approved, Question(action="evaluate")):
        assert packed(ask(path, asked)) == packed(refusal("here"))
        assert "paused since" in journal(home)[-1]["reason"] and "Jane Doe" in journal(home)[-1]["reason"]
    assert packed(answered(home, question(run="paused")).answer) == packed(refusal("here"))
    touched = {file.name for file in home.rglob("*") if file.is_file() and file.stat().st_mtime_ns != before.get(file)}
    assert touched == {"journal.jsonl", "refusals.jsonl"}
    assert len(Home(home).ledger.rows()) == rows


def test_a_resumed_site_answers_and_what_was_paid_before_the_pause_costs_nothing(place, question):
    home, path = place
    first = ask(path, question(run="resumed"))
    Decisions(home).pause()
    assert ask(path, question(run="resumed")).refused
    Decisions(home).resume()
    assert ask(path, question(run="resumed")).arrays == first.arrays
    assert len(Home(home).ledger.rows(run="resumed at here")) == 1


def test_a_round_at_work_ends_at_a_pause_and_is_drawn_again_for_the_same_price(place, question):
    home, path = place
    training = json.loads(question().documents["request"])["task"]["training"] | {"local_steps": 120}
    slow = question(toy_plan(**SECURE, steps=360, noise_multiplier=20.0), run="at work", training=training)
    hand = threading.Thread(target=pause_when_paid, args=(home, "at work"))
    hand.start()
    assert packed(ask(path, slow)) == packed(refusal("here"))
    hand.join()
    assert "paused since" in journal(home)[-1]["reason"]
    assert not list((home / "outbox").glob(f"{Home(home).outbox('at work').name}")), "it ended before it was whole"
    Decisions(home).resume()
    assert ask(path, slow).record == "update"
    assert len(Home(home).ledger.rows(run="at work at here")) == 1


def pause_when_paid(home, run):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not Home(home).ledger.rows(run=f"{run} at here"):
        time.sleep(0.01)
    Decisions(home).pause()


def test_an_answer_that_waits_for_its_time_is_held_back_by_a_pause_and_the_journal_says_so(tmp_path):
    home = make_home(tmp_path / "home", answer_interval_s=2.0).folder
    path = tmp_path / "site.sock"
    door = begin(home, path, [os.geteuid()])
    door.bundles.admits(b"an app")
    Decisions(home).approve(door.bundles.waiting()[0])
    hand = threading.Timer(1.0, Decisions(home).pause)
    hand.start()
    assert packed(ask(path, Question(action=BUNDLE, arrays={"bundle": b"an app"}))) == packed(refusal("here"))
    hand.join()
    answer, _, held = journal(home)[-3:]
    assert (answer["decision"], held["decision"]) == ("answered", "held back")
    assert held["answer"] == answer["answer"] and held["bytes_held_back"] == answer["bytes_out"]


def test_the_console_names_no_patient_and_the_journal_has_the_reason(tmp_path, question, caplog):
    """What goes wrong with Jane Doe's data is the hospital's own to read, not that of whoever reads its logs."""
    home = make_home(tmp_path / "home", answer_interval_s=0.0).folder
    (home / "division.json").write_text('{"hold_out": "Jane Doe"}')
    outcome = answered(home, question())
    assert outcome.answer.refused and "Jane Doe" in outcome.reason
    path = tmp_path / "site.sock"
    begin(home, path, [os.geteuid()])
    Decisions(home).pause("complaint of Jane Doe")
    assert ask(path, question()).refused
    assert "Jane Doe" in journal(home)[-1]["reason"]
    assert "not answered" in caplog.text and "Jane Doe" not in caplog.text


def test_what_the_policy_says_is_on_the_console_too(tmp_path, question, caplog):
    home = make_home(tmp_path / "home").folder
    assert answered(home, question(toy_plan(**(SECURE | {"noise_multiplier": 0.001})))).answer.refused
    assert "noise multiplier 0.001 is below the allowed" in caplog.text


def test_whether_a_door_holds_a_home_can_be_seen_without_holding_it(tmp_path):
    home = make_home(tmp_path / "home").folder
    if is_served(home) is None:
        pytest.skip("this machine does not say who holds a file (/proc/locks)")
    assert is_served(home) is False
    begin(home, tmp_path / "site.sock", [])
    assert is_served(home) is True
