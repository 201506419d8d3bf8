"""What people see in the terminal while something runs: progress bars with the time left, and plain lines."""

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.text import Text

from cmrfed.core.progress import Progress

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def survive_any_encoding() -> None:
    """Let no character end a command: one that the terminal's encoding lacks is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def safe_text(text: str) -> Text:
    """Text that somebody else chose, a server or whoever made the data: nothing in it may steer the terminal."""
    return Text("".join(character if character.isprintable() or character == "\n" else "?" for character in text))


def say(line: str, style: str = "") -> None:
    """A line for the user, wrapped by the terminal alone. Nothing in it may steer it."""
    text = safe_text(line)
    text.stylize(style)
    console.print(text, soft_wrap=True)


@contextmanager
def if_interrupted(kept: Callable[[], str]) -> Iterator[None]:
    """Add to an interruption what is kept of the work, and how to go on; the command line says it."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(kept())
        raise


LINE_EVERY_S = 60.0
"""Between two lines of progress where there is no terminal to draw a bar in."""


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """A bar with counts, time spent and time left. Off a terminal, as under a scheduler, a line a minute instead."""
    if not console.is_terminal:
        lines = _LogLines(description)
        with lines.printed():
            yield lines.report
        return
    columns = (
        TextColumn("  {task.description:<34}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, refresh_per_second=4) as bars:
        yield _reporter(bars, bars.add_task(description, total=None))


def _reporter(bars: Bars, task: TaskID) -> Progress:
    def report(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)

    return report


class _LogLines:
    """Progress as lines for a log: one a minute, whether or not anything was done in it, and one at the end."""

    def __init__(self, description: str) -> None:
        self._description, self._began, self._ended = description, time.monotonic(), threading.Event()
        self._first: int | None = None
        self._done = self._total = 0

    def report(self, done: int, total: int) -> None:
        """Called with the counts of a bar."""
        self._first = done if self._first is None else self._first
        self._done, self._total = done, total

    @contextmanager
    def printed(self) -> Iterator[None]:
        """Print lines until the end."""
        printer = threading.Thread(target=self._print_often, daemon=True)
        printer.start()
        try:
            yield
        finally:
            self._ended.set()
            printer.join()
            self._print()

    def _print_often(self) -> None:
        while not self._ended.wait(LINE_EVERY_S):
            self._print()

    def _print(self) -> None:
        spent = time.monotonic() - self._began
        counts = f" {self._done}/{self._total}" if self._total else ""
        line = f"  {self._description}{counts}, {_clock(spent)}{self._left(spent)}"
        console.print(line, soft_wrap=True, markup=False)

    def _left(self, spent: float) -> str:
        """At the pace so far; what was done before, in a run that goes on, tells nothing of it."""
        left, done_here = self._total - self._done, self._done - (self._first or 0)
        return f", about {_clock(spent / done_here * left)} left" if left and done_here > 0 else ""


def _clock(seconds: float) -> str:
    """3725 s as 1:02:05."""
    return str(timedelta(seconds=round(seconds)))
