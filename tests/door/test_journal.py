"""What was asked and what left, line by line, each bound to the one before."""

import json
import subprocess
import sys
import threading

import pytest
from refusals import refuses

from cmrfed.door.journal import Journal, read_journal


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for number in range(4):
        journal.add({"action": "train", "round": number})
    return journal.path


def test_lines_follow_from_one_another_over_restarts(path):
    Journal(path).add({"action": "offer"})
    assert [line.get("round") for line in read_journal(path)] == [0, 1, 2, 3, None]
    assert path.stat().st_mode & 0o777 == 0o600


def test_threads_write_one_after_the_other(path):
    journal = Journal(path)
    writers = [threading.Thread(target=lambda: [journal.add({}) for _ in range(20)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(list(read_journal(path))) == 84


ADDING = """
import sys
from pathlib import Path
from cmrfed.door.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(60):
    journal.add({"writer": sys.argv[2], "number": number})
"""


def test_processes_write_one_after_the_other_and_the_chain_holds(path):
    """As the door and the page of one home."""
    writers = [subprocess.Popen([sys.executable, "-c", ADDING, path, name]) for name in ("door", "page")]
    own = Journal(path)
    while any(writer.poll() is None for writer in writers):
        own.add({"writer": "command"})
    assert [writer.returncode for writer in writers] == [0, 0]
    lines = list(read_journal(path))
    for name in ("door", "page"):
        assert [line["number"] for line in lines if line.get("writer") == name] == list(range(60))
    assert sum(line.get("writer") == "command" for line in lines) >= 1
    Journal(path).add({})


def test_two_journals_of_one_file_follow_from_one_another(path):
    one, other = Journal(path), Journal(path)
    for number in range(5):
        one.add({"by": "one", "number": number})
        other.add({"by": "other", "number": number})
    assert [line.get("by") for line in read_journal(path)][4:] == ["one", "other"] * 5


@pytest.mark.parametrize("left", [0, 1, 3])
def test_whoever_writes_finds_that_lines_were_taken_from_the_end(path, left):
    """While the door runs; what it was about to let out does not leave."""
    journal = Journal(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:left]))
    with refuses(path, "line 4 does not follow"):
        journal.add({})
    assert len(path.read_text().splitlines()) == left


def test_whoever_writes_finds_that_the_last_line_was_changed(path):
    journal = Journal(path)
    lines = path.read_text().splitlines()
    lines[-1] = json.dumps(json.loads(lines[-1]) | {"round": 7})
    path.write_text("\n".join(lines) + "\n")
    with refuses(path, "does not follow"):
        journal.add({})


def changed(lines):
    lines[1] = json.dumps(json.loads(lines[1]) | {"round": 7})


def taken_out(lines):
    del lines[1]


def put_in(lines):
    lines.insert(2, lines[1])


def swapped(lines):
    lines[1], lines[2] = lines[2], lines[1]


def beheaded(lines):
    del lines[0]


def garbled(lines):
    lines[2] = "[" * 20_000


@pytest.mark.parametrize("forgery", [changed, taken_out, put_in, swapped, beheaded, garbled])
def test_a_journal_that_was_changed_is_found_out(path, forgery):
    lines = path.read_text().splitlines()
    forgery(lines)
    path.write_text("\n".join(lines) + "\n")
    with refuses(path, "does not follow"):
        Journal(path)


def test_a_line_that_a_killed_writer_left_half_is_no_line(path):
    with path.open("a") as file:
        file.write('{"action": "tr')
    Journal(path).add({"action": "mask"})
    assert [line["action"] for line in read_journal(path)] == ["train"] * 4 + ["mask"]
