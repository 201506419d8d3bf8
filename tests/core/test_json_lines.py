"""A log is read whole while it is written, and a killed writer spoils no line but its own."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from cmrfed.core.json_lines import append_line, read_lines


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    for number in range(3):
        append_line(path, {"round": number, "reason": "a\nb\u2028c"})
    return path


def test_lines_come_back_in_order(log):
    assert read_lines(log) == [{"round": number, "reason": "a\nb\u2028c"} for number in range(3)]


def test_a_log_that_is_not_there_has_no_lines(tmp_path):
    assert read_lines(tmp_path / "log.jsonl") == []


@pytest.mark.parametrize("left", range(1, 40, 7))
def test_a_torn_last_line_is_not_read_and_does_not_spoil_the_next(log, left):
    content = log.read_bytes()
    log.write_bytes(content[:-left])
    assert [line["round"] for line in read_lines(log)] == [0, 1]
    append_line(log, {"round": 7})
    assert [line["round"] for line in read_lines(log)] == [0, 1, 7]


def test_a_log_of_nothing_but_a_torn_line_begins_anew(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"round": 1')
    append_line(log, {"round": 2})
    assert log.read_text() == '{"round": 2}\n'


def _append_many(path: Path, writer: int) -> None:
    for number in range(50):
        append_line(path, {"writer": writer, "number": number})


def test_several_writers_lose_no_line(tmp_path):
    log = tmp_path / "log.jsonl"
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_append_many, [log] * 2, range(2)))
    found = sorted((line["writer"], line["number"]) for line in read_lines(log))
    assert found == [(writer, number) for writer in range(2) for number in range(50)]
