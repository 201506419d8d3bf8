"""The door's journal, `journal.jsonl`: every question, what was decided and every byte that left, one line each.

A line is on disk before its answer leaves, and holds the SHA-256 of the line before it, so that none can be changed,
taken out or put in without all that follow. It is the hospital's own: a reason may name what an error found in data.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cmrfed.config import UserError
from cmrfed.core.json_lines import append_line

_NOTHING_BEFORE = "0" * 64


class Journal:
    """The journal in a file, for the threads of one process. Raises UserError when it opens a file whose lines do not
    follow from one another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch(mode=0o600)
        self._turn = threading.Lock()
        lines = list(read_journal(path))
        self._last = _digest(lines[-1]) if lines else _NOTHING_BEFORE

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line down, durably."""
        with self._turn:
            whole = {"time": time.time(), **line, "previous": self._last}
            append_line(self.path, whole, durable=True)
            self._last = _digest(whole)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines. Raises UserError at the first that does not follow from the one before."""
    previous = _NOTHING_BEFORE
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    for number, raw in enumerate(text.split("\n")[:-1], start=1):
        line = _parsed(raw)
        if line.get("previous") != previous:
            raise UserError(
                f"{path}: line {number} does not follow from the line before it: the journal was changed; restore it "
                "from a backup, or move it away and keep it as evidence"
            )
        previous = _digest(line)
        yield line


def _parsed(raw: str) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


def _digest(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line).encode()).hexdigest()
