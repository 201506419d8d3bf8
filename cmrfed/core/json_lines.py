"""Logs of one JSON object a line, which are read while somebody writes to them, and after their writer was killed."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any


def append_line(path: Path, line: Mapping[str, Any], durable: bool = False) -> None:
    """Add a line. One that a killed writer left unfinished goes, so that it does not spoil the new one. A durable
    one is on disk when the call returns."""
    with path.open("a+b") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # whoever is at work on a line is not a killed writer
        _cut_unfinished(log)
        log.write(json.dumps(line).encode() + b"\n")
        if durable:
            log.flush()
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
