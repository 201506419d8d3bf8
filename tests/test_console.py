"""What a log shows where there is no terminal to draw a bar in."""

import re
import time

import pytest

from cmrfed import console
from cmrfed.console import progress_bar


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.05)


def wait_for(capsys: pytest.CaptureFixture[str], pattern: str) -> str:
    """What was printed until a line of this pattern came."""
    printed, deadline = "", time.monotonic() + 30
    while time.monotonic() < deadline:
        printed += capsys.readouterr().out
        if re.search(pattern, printed):
            return printed
        time.sleep(0.01)
    raise AssertionError(f"no line like {pattern!r} in {printed!r}")


def test_a_log_shows_progress_while_it_goes_on_and_the_time_left(hurried, capsys) -> None:
    with progress_bar("pretraining") as report:
        report(1200, 2400)
        wait_for(capsys, r"pretraining 1200/2400, 0:00:0\d\n")
        report(1300, 2400)
        wait_for(capsys, r"pretraining 1300/2400, 0:00:\d\d, about \d:\d\d:\d\d left\n")


def test_a_log_goes_on_where_nothing_is_done_for_long(hurried, capsys) -> None:
    with progress_bar("waiting"):
        wait_for(capsys, r"(waiting, 0:00:\d\d\n.*){2}")


def test_a_short_task_is_one_line_at_its_end(capsys) -> None:
    with progress_bar("reading") as report:
        report(1, 3)
        report(3, 3)
        assert capsys.readouterr().out == ""
    assert re.fullmatch(r"  reading 3/3, 0:00:\d\d\n", capsys.readouterr().out)


def test_an_error_ends_the_lines(hurried, capsys) -> None:
    with pytest.raises(ValueError, match="broken"), progress_bar("reading"):
        raise ValueError("broken")
    printed = capsys.readouterr().out
    time.sleep(0.3)
    assert printed and capsys.readouterr().out == ""
