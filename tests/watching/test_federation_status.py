"""A coordinator sees what the run wrote down, by public numbers alone, and 'not yet' where there is nothing."""

import json
import re
import shutil
import time

import pytest
from provisioned import NOW, joined, provisioned
from refusals import refuses
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from watched import NAMES, PLAN, browser, troubled_run, visited

from cmrfed.config import UserError
from cmrfed.formats import epsilon as printed_epsilon
from cmrfed.privacy import epsilon
from cmrfed.provision.invited import NodeSeen
from cmrfed.watching import words
from cmrfed.watching.federation import read_status
from cmrfed.watching.pages import federation_page


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return troubled_run(tmp_path_factory.mktemp("runs") / "hearts").folder.parents[1]


@pytest.fixture
def run(played, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(played, tmp_path / "hearts")


def arm_of(run):
    (arm,) = read_status(run, time.time()).arms
    return arm


def test_rounds_say_who_answered_who_refused_and_who_was_not_heard(played):
    arm = arm_of(played)
    assert (arm.state, arm.done, arm.planned, arm.open_round, arm.needed) == ("open", 3, 6, 4, 2)
    start, *rounds = arm.rounds
    assert (start.number, start.answered, start.missing) == (0, (), ())
    assert [(one.number, one.applied, one.answered, one.refused, one.missing) for one in rounds] == [
        (1, True, NAMES, (), ()),
        (2, True, ("East", "West"), ("North",), ()),
        (3, True, ("East", "North"), (), ("West",)),
        (4, False, ("East",), (), ("North", "West")),
    ]
    assert words.progress(arm).endswith("round 4 is open and has 1 of the 2 answers it needs")
    assert [words.last_word(arm, site) for site in NAMES] == ["answered", "not heard", "not heard"]


def test_epsilon_is_the_plans_for_the_rounds_that_a_site_answered(played):
    """Also of an answer to a round that is not applied: it was paid for."""
    arm = arm_of(played)
    counts = {"East": 4, "North": 2, "West": 2}
    assert {site: arm.rounds_answered(site) for site in NAMES} == counts
    assert arm.epsilon == {site: epsilon([PLAN.event(count)], PLAN.delta, "prv") for site, count in counts.items()}


def test_a_round_that_is_asked_for_again_counts_once(run):
    log = run / "arms" / "private" / "rounds.jsonl"
    log.write_text(log.read_text() + log.read_text().splitlines()[-1] + "\n")
    assert arm_of(run).rounds_answered("East") == 4


def test_bytes_losses_and_times_are_those_of_the_log(played):
    lines = [json.loads(line) for line in (played / "arms" / "private" / "rounds.jsonl").read_text().splitlines()]
    rounds = arm_of(played).rounds
    assert [{"down": one.bytes_down, "up": one.bytes_up} for one in rounds] == [line["bytes"] for line in lines]
    assert [one.held_out_loss for one in rounds] == [line["validation"] for line in lines]
    assert rounds[1].held_out_loss and rounds[1].bytes_up > 0
    assert read_status(played, 0.0).last_event == lines[-1]["finished"]


def test_tensorboard_has_the_same_by_round(played):
    curves = EventAccumulator(str(played / "tensorboard" / "private")).Reload()
    arm = arm_of(played)
    applied = [one for one in arm.rounds if one.applied]

    def drawn(name):
        return {event.step: event.value for event in curves.Scalars(name)}

    assert drawn("traffic, bytes/up") == {one.number: one.bytes_up for one in applied}
    assert drawn("seconds") == pytest.approx({one.number: one.seconds for one in applied}, rel=1e-5, abs=1e-5)
    for vendor in ("Siemens", "Philips"):
        losses = {one.number: one.held_out_loss[vendor] for one in applied if one.held_out_loss}
        assert drawn(f"held-out loss/{vendor}") == pytest.approx(losses)
    spent = [epsilon([PLAN.event(count)], PLAN.delta, "prv") for count in (1, 2)]
    assert drawn("epsilon/West") == pytest.approx({1: spent[0], 2: spent[1], 3: spent[1]})


def test_no_number_that_only_a_site_knows_is_in_it(played):
    """A simulated run's record has how many patients each site has, and its sites' folders have all of theirs."""
    shown = read_status(played, 0.0).model_dump_json()
    assert not re.search("patient|slices|ledger|sqlite|toy-", shown)


@pytest.mark.parametrize("files", [["rounds.jsonl"], ["rounds.jsonl", "checkpoint.safetensors"], ["arm.json"]])
def test_what_is_not_there_yet_is_not_yet(run, files):
    for name in files:
        (run / "arms" / "private" / name).unlink()
    found = read_status(run, 0.0)
    assert found.last_event is None
    if found.arms:
        assert found.arms[0].state == "begins" and words.progress(found.arms[0]) == "no round yet, of 6"
    else:
        assert "not yet" in found.notes[0]


def test_an_empty_folder_is_not_yet_and_none_at_all_is_refused(tmp_path):
    assert read_status(tmp_path, 0.0).notes == ("not yet: no arm of this run has begun (arms/NAME/arm.json)",)
    with refuses("run: ", "is no folder"):
        read_status(tmp_path / "none", 0.0)


def test_a_log_cut_anywhere_shows_the_rounds_before_the_cut(run):
    """As whoever reads while it is written, or after its writer was killed."""
    log = run / "arms" / "private" / "rounds.jsonl"
    whole = log.read_bytes()
    for length in range(0, len(whole), 37):
        log.write_bytes(whole[:length])
        arm = arm_of(run)
        assert len(arm.rounds) == whole[:length].count(b"\n") and not arm.problem


@pytest.mark.parametrize("spoilt", [b"{", b"[]", b'{"round": "two"}', b"\xff\xfe", b"[" * 50_000])
def test_a_spoilt_line_is_named_and_what_came_before_is_shown(run, spoilt):
    log = run / "arms" / "private" / "rounds.jsonl"
    lines = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([*lines[:2], spoilt, *lines[2:]]) + b"\n")
    arm = arm_of(run)
    assert len(arm.rounds) == 2 and "line 3" in arm.problem and "\n" not in arm.problem


def test_a_spoilt_plan_is_named_and_the_other_arms_are_shown(run):
    shutil.copytree(run / "arms" / "private", run / "arms" / "other")
    (run / "arms" / "other" / "arm.json").write_text('{"run": ')
    found = read_status(run, 0.0)
    assert len(found.arms) == 1 and found.notes[0].startswith("arm other: ")


def test_how_an_arm_ended_is_said(run):
    arm = run / "arms" / "private"
    (arm / "stopped.txt").write_text("after 3 of 6 rounds: no site\n")
    assert words.progress(arm_of(run)) == "stopped early, after 3 of 6 rounds: no site"
    (arm / "model.safetensors").touch()  # as an earlier end left it, before the rounds went on
    (arm / "stopped.txt").unlink()
    assert arm_of(run).state == "open"
    log = [json.loads(line) for line in (arm / "rounds.jsonl").read_text().splitlines()]
    more = [log[1] | {"round": number} for number in (4, 5, 6)]
    (arm / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log + more))
    assert (arm_of(run).state, arm_of(run).open_round) == ("done", None)


def test_sites_are_as_provisioned_and_connected_as_the_superlink_says(played, tmp_path):
    coordinator = provisioned(tmp_path / "federation", sites=["North", "West", "Gone", "New"])
    keys = {}
    for name in ("North", "West", "Gone"):
        key = joined(coordinator, name, tmp_path / name).key
        coordinator.register(name, _sent(tmp_path / name), key.fingerprint, NOW)
        keys[name] = key.pem
    coordinator.revoke("Gone")
    nodes = {keys["North"]: NodeSeen(connected=True, last_seen=5.0), keys["Gone"]: NodeSeen(connected=False)}
    found = read_status(played, 0.0, coordinator, lambda: nodes)
    assert [(site.name, site.state, site.connected, site.last_seen) for site in found.sites] == [
        ("North", "registered", True, 5.0),
        ("West", "registered", False, None),
        ("Gone", "revoked", False, None),
        ("New", "invited", False, None),
        ("East", None, None, None),
    ]
    assert [words.connection(site) for site in found.sites][:2] == ["connected", "never connected"]


def _sent(home):
    from cmrfed.provision.node_key import read_node_key

    return read_node_key((home / "node.pub").read_text(), "node.pub")


def test_a_superlink_that_does_not_answer_is_a_note_and_the_rest_is_shown(played, tmp_path):
    def away():
        raise UserError("the SuperLink at 127.0.0.1:1 does not answer")

    found = read_status(played, 0.0, provisioned(tmp_path / "federation"), away)
    assert found.notes == ("who is connected is not known: the SuperLink at 127.0.0.1:1 does not answer",)
    assert found.arms and {site.connected for site in found.sites} == {None}


# as a page


def test_the_page_shows_it_and_is_whole_without_anything_from_elsewhere(played):
    client = browser(visited(federation_page(lambda: read_status(played, time.time())), secret=False))
    html = client.get("").text
    for told in (*NAMES, "3 of 6 rounds are done", "North: refused", "West: not heard", "4, not applied"):
        assert told in html
    assert printed_epsilon(arm_of(played).epsilon["East"]) in html
    assert not re.search(r"(src|href)=\"(?!data:|status\.json|\./)|@import|url\(|https?:", html)
    assert client.get("status.json").json()["arms"][0]["done"] == 3


def test_the_page_follows_the_files_and_survives_each_of_them(run):
    client = browser(visited(federation_page(lambda: read_status(run, time.time())), secret=False))
    log = run / "arms" / "private" / "rounds.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert "4, not applied" not in client.get("").text
    log.write_text("{\n")
    assert "cannot be read" in client.get("").text
    log.unlink()
    assert "no round yet" in client.get("").text
    shutil.rmtree(run / "arms")
    assert "not yet" in client.get("").text
    shutil.rmtree(run)
    gone = client.get("")
    assert gone.status_code == 500 and "is no folder" in gone.text and "Traceback" not in gone.text


def test_names_and_reasons_of_others_are_text_on_the_page(run):
    log = run / "arms" / "private" / "rounds.jsonl"
    last = json.loads(log.read_text().splitlines()[1])
    last["sites"] = {"<script>x()</script>": {"reason": "dropped: <img src=x> \u202egnp"}}
    log.write_text(log.read_text() + json.dumps(last) + "\n")
    html = browser(visited(federation_page(lambda: read_status(run, 0.0)), secret=False)).get("").text
    assert "&lt;script&gt;x()" in html and "<script>x()" not in html and "<img" not in html and "\u202e" not in html
