"""Logs of one JSON object a line, which are read while somebody writes to them, and after their writer was killed."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def append_line(path: Path, line: Mapping[str, Any], durable: bool = False) -> None:
    """Add a line. A durable one is on disk when the call returns."""
    with appending(path) as log:
        write_line(log, line, durable)


@contextmanager
def appending(path: Path) -> Iterator[IO[bytes]]:
    """A log to read and to add lines to, for one writer at a time. A line that a killed writer left unfinished is gone,
    so that it does not spoil the next."""
    with path.open("a+b") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # whoever is at work on a line is not a killed writer
        _cut_unfinished(log)
        yield log


def write_line(log: IO[bytes], line: Mapping[str, Any], durable: bool = False) -> None:
    """Add a line to a log that `appending` opened."""
    log.write(json.dumps(line).encode() + b"\n")
    log.flush()
    if durable:
        os.fsync(log.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; none where there is no file. A last one without its end is still being written, or never was."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def _cut_unfinished(log: IO[bytes]) -> None:
    end = log.seek(0, os.SEEK_END)
    if not end:
        return
    log.seek(end - 1)
    if log.read(1) != b"\n":
        log.seek(0)
        log.truncate(log.read().rfind(b"\n") + 1)
