"""What people see in the terminal while something runs: progress bars with the time left, and plain lines."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

Report = Callable[[int, int], None]
"""Tells a bar that `done` of `total` is reached."""


def survive_any_encoding() -> None:
    """Let no character end a command: one that the terminal's encoding lacks is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def safe_text(text: str) -> Text:
    """Text that somebody else chose, a server or whoever made the data: nothing in it may steer the terminal."""
    return Text("".join(character if character.isprintable() or character == "\n" else "?" for character in text))


@contextmanager
def progress_bar(description: str) -> Iterator[Report]:
    """A bar with counts, time spent and time left. Off a terminal it prints one line at the end instead."""
    columns = (
        TextColumn("  {task.description:<34}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task(description, total=None, note="")
        yield _reporter(progress, task)


def _reporter(progress: Progress, task: TaskID) -> Report:
    def report(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return report
