"""What a hospital's own people decide of its door, by a command or on its page; each decision is in the journal.

What lets more out is written down before it takes effect, what lets less out afterwards: a full disk, or a journal that
was changed, keeps nobody from pausing, and nothing is opened that is not in the journal.
"""

import fcntl
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cmrfed.config import UserError
from cmrfed.door.bundles import Bundles
from cmrfed.door.journal import Journal
from cmrfed.site.pause import LONGEST_REASON, Pause, end_pause, read_pause, write_pause


@dataclass(frozen=True)
class Decisions:
    """On a home, by the account that this process runs under. `way`: what they are made by.

    Raises UserError where another account owns the home: what it wrote, the door could not read.
    """

    home: Path
    way: Literal["command", "page"] = "command"

    def __post_init__(self) -> None:
        owner = self.home.stat().st_uid
        if owner != os.geteuid():
            raise UserError(
                f"{self.home}: belongs to account {_name(owner)}, and this is {_name(os.geteuid())}; run it as that "
                f"one (sudo -u {_name(owner)} cmrfed ...)"
            )

    @property
    def bundles(self) -> Bundles:
        return Bundles(self.home / "bundles")

    def pause(self, why: str = "") -> Pause:
        """Have nothing answered from now on; returns the pause, which may be an earlier one."""
        with self._one_at_a_time():
            if already := read_pause(self.home):
                return already
            made = Pause(since=time.time(), by=decider(), why=_one_line(why))
            write_pause(self.home, made)
            self._note_done("pause", made.why)
        return made

    def resume(self) -> Pause | None:
        """Have questions answered again; returns the pause that ended, if there was one."""
        with self._one_at_a_time():
            ended = read_pause(self.home)
            if ended:
                self._note("resume", str(ended))
                end_pause(self.home)
        return ended

    def approve(self, bundle: str) -> None:
        """Let an app ask, by the SHA-256 of its bundle. Raises UserError where it cannot be read here."""
        with self._one_at_a_time():
            self.bundles.content(bundle)
            self._note("approve", f"bundle {bundle[:16]}", bundle=bundle)
            self.bundles.approve(bundle)

    def withdraw(self, bundle: str) -> None:
        """Let an app ask no longer. Raises UserError where it was not approved."""
        with self._one_at_a_time():
            self.bundles.withdraw(bundle)
            self._note_done("withdraw", f"bundle {bundle[:16]}", bundle=bundle)

    def _note_done(self, action: str, reason: str, **more: Any) -> None:
        """Of what has taken effect already."""
        try:
            self._note(action, reason, **more)
        except (UserError, OSError) as error:
            raise UserError(f"{action}: it is done, and it is not in the journal: {error}") from None

    def _note(self, action: str, reason: str, **more: Any) -> None:
        own = {"process": os.getpid(), "account": os.geteuid(), "by": decider(), "way": self.way}
        Journal(self.home / "journal.jsonl").add(
            {**own, "action": action, "decision": "decided here", "reason": reason, **more}
        )

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """A page's press and a command at once would each undo what the other did to the list of bundles."""
        descriptor = os.open(self.home / "decisions.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def decider() -> str:
    """Which account decides, and whose person came to it by sudo(8), as far as sudo says."""
    person, account = os.environ.get("SUDO_USER", ""), _name(os.geteuid())
    return _one_line(f"{account} (sudo: {person})" if person and person != account else account)[:200]


def _name(account: int) -> str:
    try:
        return pwd.getpwuid(account).pw_name
    except KeyError:
        return str(account)


def _one_line(text: str) -> str:
    """Text of a person's as one line that steers no terminal."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:LONGEST_REASON]
