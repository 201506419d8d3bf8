"""A data-protection officer sees what was asked, decided and spent, and decides by buttons that do what commands do."""

import os
import re
import threading
import time

import pytest
from conftest import toy_plan
from homes import make_home
from watched import browser, visited

from cmrfed.core.packing import npy
from cmrfed.door import BUNDLE, Question
from cmrfed.door.daemon import Door, serve
from cmrfed.door.decisions import Decisions
from cmrfed.door.journal import read_journal
from cmrfed.door.sockets import ask
from cmrfed.formats import epsilon as printed_epsilon
from cmrfed.generators import build_generator
from cmrfed.privacy import filter
from cmrfed.site import Home, Request
from cmrfed.site.pause import read_pause
from cmrfed.training import LocalTask
from cmrfed.updates import read_weights
from cmrfed.watching.hospital import HospitalReader
from cmrfed.watching.pages import hospital_page

PLAN = toy_plan(seed=None, target_epsilon=8.0, sample_rate=1.0, noise_multiplier=3.0)


@pytest.fixture
def place(tmp_path):
    """(A home, the socket of its running door)."""
    home = make_home(tmp_path / "home", maximum_epsilon=8.0, answer_interval_s=0.0).folder
    door, path = Door(home, frozenset([os.geteuid()])), tmp_path / "site.sock"
    threading.Thread(target=serve, args=(door, path), daemon=True).start()
    while not path.exists():
        time.sleep(0.01)
    yield home, path
    door.close()


@pytest.fixture
def train(tiny_generator_config, fp32_training):
    arrays = {name: npy(one) for name, one in read_weights(build_generator(tiny_generator_config, 0)).items()}

    def make(round=1, plan=PLAN):
        task = LocalTask(training=fp32_training.model_copy(update={"local_steps": 1}), plan=plan, round=round, rounds=4)
        request = Request(run="hearts/private", generator=tiny_generator_config, task=task)
        return Question(action="train", documents={"request": request.model_dump_json()}, arrays=arrays)

    return make


def app(content=b"an app"):
    return Question(action=BUNDLE, arrays={"bundle": content})


def press(client, button, **fields):
    html = client.get("").text
    fields["secret"] = re.search(r'name="secret" value="(.*?)"', html)[1]
    host = client.base_url.netloc.decode()
    return client.post(button, data=fields, headers={"origin": f"http://{host}"})


def test_a_home_that_nobody_asked_yet_is_shown_as_that(tmp_path):
    found = HospitalReader(make_home(tmp_path / "home").folder).read(0.0)
    assert (found.groups, found.asked, found.approved, found.waiting, found.notes) == ((), (), (), (), ())
    assert (found.spent, found.left, found.bytes_out) == (0.0, 1000.0, 0)


def test_answers_say_what_they_cost_and_the_sum_is_what_the_filter_holds_to_the_limit(place, train):
    home, path = place
    for round in (1, 2):
        assert ask(path, train(round)).record == "update"
    ask(path, train(2))
    ask(path, train(3, toy_plan(seed=None, noise_multiplier=0.01)))
    found, policy = HospitalReader(home).read(0.0), Home(home).policy
    rows = Home(home).ledger.rows()
    assert [(one.decision, one.epsilon) for one in reversed(found.asked)] == [
        ("answered", rows[0].epsilon), ("answered", rows[1].epsilon), ("answered", None), ("refused", None),
    ]  # fmt: skip
    assert "noise multiplier" in found.asked[0].reason
    (group,) = found.groups
    assert (group.patients, group.releases) == (4, 2)
    spent = filter.spent([row.event for row in rows], policy.delta_of_a_rule, policy.renyi_order)
    assert found.spent == group.epsilon == spent and found.left == 8.0 - spent
    assert found.bytes_out == sum(line["bytes_out"] for line in read_journal(home / "journal.jsonl"))
    assert found.counts == {"answered": 3, "refused": 1} and found.served in (True, None)


def test_no_patient_is_named(place, train):
    home, path = place
    ask(path, train())
    names = Home(home).slices().patient_names
    html = browser(visited(hospital_page(Decisions(home, "page")))).get("").text
    assert not [name for name in names if name in html or name in HospitalReader(home).read(0.0).model_dump_json()]
    assert printed_epsilon(Home(home).ledger.rows()[-1].epsilon) in html


def test_pause_and_resume_are_obeyed_by_the_running_door_and_are_in_the_journal(place, train):
    home, path = place
    client = browser(visited(hospital_page(Decisions(home, "page"))))
    first = ask(path, train())
    assert press(client, "pause", why="audit <b>on</b> Monday").url == client.base_url
    assert "audit &lt;b&gt;on&lt;/b&gt; Monday" in client.get("").text and read_pause(home)
    assert ask(path, train()).refused and ask(path, train(2)).refused
    press(client, "resume")
    assert ask(path, train()).arrays == first.arrays
    lines = list(read_journal(home / "journal.jsonl"))
    assert [line["action"] for line in lines] == ["train", "pause", "train", "train", "resume", "train"]
    assert {line["way"] for line in lines if "way" in line} == {"page"}
    assert len(Home(home).ledger.rows()) == 1


def test_an_app_is_read_approved_and_withdrawn(place):
    home, path = place
    client = browser(visited(hospital_page(Decisions(home, "page"))))
    content = b"PK\x05\x06" + b"\0" * 18  # an empty zip
    assert ask(path, app(content)).refused
    (waiting,) = Decisions(home).bundles.waiting()
    html = client.get("").text
    assert f"bundle?name={waiting}" in html
    assert "Approve: it may ask from now on" in client.get("bundle", params={"name": waiting}).text
    press(client, "approve", bundle=waiting)
    assert not ask(path, app(content)).refused
    press(client, "withdraw", bundle=waiting)
    assert ask(path, app(content)).refused


@pytest.mark.parametrize("name", ["", "../../site", "0" * 64, "A" * 64, "../" + "0" * 61])
def test_no_other_file_is_read_or_approved_as_a_bundle(place, name):
    home, _ = place
    client = browser(visited(hospital_page(Decisions(home, "page"))))
    assert client.get("bundle", params={"name": name}).status_code == 500
    assert press(client, "approve", bundle=name).status_code == 409
    assert press(client, "withdraw", bundle=name).status_code == 409
    assert Decisions(home).bundles.approved == ()


def test_a_bundle_that_cannot_be_read_can_not_be_read_here_either_and_its_text_steers_nothing(place):
    home, path = place
    client = browser(visited(hospital_page(Decisions(home, "page"))))
    ask(path, app(b"no zip"))
    (waiting,) = Decisions(home).bundles.waiting()
    shown = client.get("bundle", params={"name": waiting})
    assert shown.status_code == 500 and "cannot be read" in shown.text and "Approve" not in shown.text


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "ledger/ledger.sqlite", "ledger/ledger.anchor", "bundles/approved.json"]
)
def test_a_file_that_was_spoilt_or_cut_is_named_and_nothing_falls_over(place, train, name):
    home, path = place
    ask(path, train())
    client = browser(visited(hospital_page(Decisions(home, "page"))))
    spoilt = home / name
    spoilt.parent.mkdir(exist_ok=True)
    whole = spoilt.read_bytes() if spoilt.exists() else b""
    for content in (b"{\n", whole[: len(whole) // 2], b"\xff" * 50 + b"\n"):
        spoilt.write_bytes(content)
        answer = client.get("")
        assert answer.status_code == 200 and "Traceback" not in answer.text
        assert "Look into this" in answer.text or (name == "journal.jsonl" and b"\n" not in content)
        assert "Pause: answer nothing" in answer.text


def test_a_half_written_line_is_not_yet_a_line(place):
    home, path = place
    ask(path, Question(action="evaluate"))
    with (home / "journal.jsonl").open("a") as log:
        log.write('{"action": "tr')
    found = HospitalReader(home).read(0.0)
    assert (found.lines, found.notes) == (1, ())


def test_a_ledger_that_is_gone_is_said_and_not_taken_for_nothing_spent(place, train):
    home, path = place
    ask(path, train())
    Home(home).ledger.path.unlink()
    (note,) = HospitalReader(home).read(0.0).notes
    assert "is missing, and had 1 rows" in note
