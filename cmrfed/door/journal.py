"""The door's journal, `journal.jsonl`: every question, what was decided and every byte that left, one line each; and
what the hospital's own people decided (`cmrfed.door.decisions`).

A line is on disk before its answer leaves, and holds the SHA-256 of the line before it, so that none can be changed,
taken out or put in without all that follow. It is the hospital's own: a reason may name what an error found in data.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cmrfed.config import UserError
from cmrfed.core.json_lines import appending, write_line

_NOTHING_BEFORE = "0" * 64


@dataclass(frozen=True)
class _Link:
    """A checked line: its number from 1, where it begins, and the digests of the line before it and of itself."""

    number: int = 0
    begins: int = 0
    previous: str = _NOTHING_BEFORE
    digest: str = _NOTHING_BEFORE


class Journal:
    """The journal in a file, for threads and processes: each process has its own `Journal` of the same file, and a line
    is bound to the last one there, whoever wrote that.

    Raises UserError, when it opens a file and when it adds to one, where the lines do not follow from one another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch(mode=0o600)
        self._turn = threading.Lock()
        self._last = _Link()
        with appending(path) as log:
            self._catch_up(log)

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line down, durably."""
        with self._turn, appending(self.path) as log:
            self._catch_up(log)
            begins = log.seek(0, os.SEEK_END)
            whole = {"time": time.time(), **line, "previous": self._last.digest}
            write_line(log, whole, durable=True)
            self._last = _Link(self._last.number + 1, begins, self._last.digest, _digest(whole))

    def _catch_up(self, log: IO[bytes]) -> None:
        """Check what others wrote after the last line that is known, and that this one is still there."""
        known = self._last
        log.seek(known.begins)
        lines = _whole_lines(log.read())
        if known.number and (not lines or _digest(_parsed(lines[0])) != known.digest):
            raise _changed(self.path, known.number)
        before = _Link(max(known.number - 1, 0), known.begins, digest=known.previous)
        for _, last in _chained(lines, before, self.path):
            self._last = last


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines. Raises UserError at the first that does not follow from the one before."""
    lines = _whole_lines(path.read_bytes()) if path.exists() else []
    return (line for line, _ in _chained(lines, _Link(), path))


def _chained(lines: Sequence[bytes], before: _Link, path: Path) -> Iterator[tuple[dict[str, Any], _Link]]:
    """Each line and its place. `before` is of the line before them, but for `begins`, which is where they begin."""
    number, begins, previous = before.number, before.begins, before.digest
    for raw in lines:
        line, number = _parsed(raw), number + 1
        if line.get("previous") != previous:
            raise _changed(path, number)
        digest = _digest(line)
        yield line, _Link(number, begins, previous, digest)
        begins, previous = begins + len(raw) + 1, digest


def _changed(path: Path, number: int) -> UserError:
    return UserError(
        f"{path}: line {number} does not follow from the line before it: the journal was changed; restore it "
        "from a backup, or move it away and keep it as evidence"
    )


def _whole_lines(content: bytes) -> list[bytes]:
    return content.split(b"\n")[:-1]


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


def _digest(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line).encode()).hexdigest()
