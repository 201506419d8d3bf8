"""A site's pause: while `paused.json` is in its home nothing is answered, and no patient's data are touched.

Whoever owns the home puts it there and takes it away (`cmrfed.door.decisions`); whatever answers looks for it each
time, so that nothing need be started again. One that cannot be read pauses too.
"""

import os
from datetime import datetime
from pathlib import Path

from pydantic import Field

from cmrfed.config import Stage, UserError, read_stage_json
from cmrfed.core import atomic
from cmrfed.site.policy import Refusal

_FILE = "paused.json"
LONGEST_REASON = 500


class Pause(Stage):
    """since: Unix time, s. by: which account. why: in that person's words; for the hospital's own eyes."""

    since: float
    by: str = Field(max_length=200)
    why: str = Field(default="", max_length=LONGEST_REASON)

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.since).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        return f"paused since {when} by {self.by}" + (f": {self.why}" if self.why else "")


def read_pause(home: Path) -> Pause | None:
    """None while the site answers."""
    path = home / _FILE
    try:
        since = path.lstat().st_mtime
        return read_stage_json(Pause, path)
    except FileNotFoundError:
        return None
    except UserError:  # it was taken away just now, or it cannot be read
        there = os.path.lexists(path)
        return Pause(since=since, by="nobody knows whom", why=f"{_FILE} cannot be read") if there else None


class Paused(Refusal):
    """The site is paused; who did it and why are in the words, which are for its journal alone."""


def refuse_paused(home: Path) -> None:
    """Raise Paused while the site is."""
    if pause := read_pause(home):
        raise Paused(str(pause))


def write_pause(home: Path, pause: Pause) -> None:
    """From here on nothing is answered, whatever happens to this machine."""
    atomic.write_text(home / _FILE, pause.model_dump_json(), mode=atomic.PRIVATE)


def end_pause(home: Path) -> None:
    (home / _FILE).unlink(missing_ok=True)
