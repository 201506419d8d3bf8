"""`cmrfed site serve`: the process that owns a home, under an account of its own, and lets one other account ask.

The account that a node runs under, and with it whatever code a coordinator gets to run there, can open none of the
home's files. It can ask, as any server may; is refused what the policy forbids; and hears each answer at a whole
multiple of the policy's `answer_interval_s` after its question, so that the time of an answer tells no more than how
many of them went by. Questions are answered one at a time, by a process of their own that may run out of memory or time
without the door.

While the site is paused (`cmrfed.site.pause`) every question gets the constant refusal; so does one whose answer was
being computed, or waited for its time to leave, when the pause began. What was paid for is kept, and answers the same
question at no further cost once the pause is over.
"""

import fcntl
import hashlib
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cmrfed.config import UserError, read_json_text
from cmrfed.door.answering import Outcome, answered, for_the_console
from cmrfed.door.bundles import Bundles
from cmrfed.door.journal import Journal
from cmrfed.door.messages import BUNDLE, Answer, Question, packed, refusal, unpacked
from cmrfed.door.sockets import Peer, peer_of, receive, send
from cmrfed.parallel import Worker
from cmrfed.site import Home, SitePolicy
from cmrfed.site.pause import read_pause, refuse_paused

_log = logging.getLogger("cmrfed.site")

_QUESTION_TIMEOUT_S = 60
"""For a question to arrive, whole: who says nothing holds nobody up for longer."""
_MOST_VISITORS = 8
_GRACE_S = 60
"""Beyond the policy's `maximum_seconds`, which a round keeps by itself, until its process is ended."""


class Door:
    """A home's door. `accounts`: the numbers of the accounts that may ask."""

    def __init__(self, home: Path, accounts: frozenset[int]) -> None:
        self.home, self.accounts = home, accounts
        self.journal = Journal(home / "journal.jsonl")
        self.bundles = Bundles(home / "bundles")
        self._worker = Worker()
        self._turn = threading.Lock()

    def answer(self, connection: socket.socket) -> None:
        """Hear one question and answer it, if whoever asks may."""
        arrived, peer = time.monotonic(), peer_of(connection)
        if peer.account not in self.accounts:
            self._turn_away(peer, "this account may not ask (node_account)")
            return
        policy = self._policy()
        connection.settimeout(_QUESTION_TIMEOUT_S)
        try:
            message = receive(connection, int(policy.maximum_message_mb * 1e6))
        except (UserError, OSError) as error:
            self._turn_away(peer, str(error))
            return
        reply = self._reply(message, peer, policy)
        time.sleep(_until_the_next(policy.answer_interval_s, time.monotonic() - arrived))
        send(connection, self._held_back(reply, peer, policy))

    def close(self) -> None:
        """End what is being computed: it is drawn again, the same and for the same price, when it is asked again."""
        self._worker.stop()

    def _turn_away(self, peer: Peer, reason: str) -> None:
        """Say nothing at all, and keep in mind who it was."""
        self.journal.add({**vars(peer), "decision": "not heard", "reason": reason})

    def _policy(self) -> SitePolicy:
        return Home(self.home).policy

    def _reply(self, message: bytes, peer: Peer, policy: SitePolicy) -> bytes:
        """The answer's bytes, once it is in the journal what they are."""
        with self._turn:
            question, outcome = self._outcome(message, policy)
            reply = packed(outcome.answer)
            self.journal.add(
                {
                    **vars(peer),
                    **_about(question),
                    "question": hashlib.sha256(message).hexdigest(),
                    "bytes_in": len(message),
                    "decision": "refused" if outcome.answer.refused else "answered",
                    "reason": outcome.reason,
                    "answer": hashlib.sha256(reply).hexdigest(),
                    "bytes_out": len(reply),
                    "ledger_head": outcome.answer.notes.get("ledger_head", ""),
                }
            )
        return reply

    def _held_back(self, reply: bytes, peer: Peer, policy: SitePolicy) -> bytes:
        """The constant refusal in the place of an answer that waited for its time when a pause began."""
        refused, pause = packed(refusal(policy.name)), read_pause(self.home)
        if pause is None or reply == refused:
            return reply
        told = {"answer": hashlib.sha256(reply).hexdigest(), "bytes_held_back": len(reply), "bytes_out": len(refused)}
        self.journal.add({**vars(peer), "decision": "held back", "reason": str(pause), **told})
        return refused

    def _outcome(self, message: bytes, policy: SitePolicy) -> tuple[Question | None, Outcome]:
        question = None
        try:
            question = unpacked(Question, message)
            refuse_paused(self.home)
            if question.action == BUNDLE:
                return question, self._admitted(question, policy)
            limit = policy.maximum_seconds + _GRACE_S
            found = self._worker.do(answered, self.home, question, seconds=limit)
            refuse_paused(self.home)
            return question, found
        except UserError as error:
            _log.warning("%s: not answered: %s", self.home, for_the_console(error))
            return question, Outcome(refusal(policy.name), str(error))

    def _admitted(self, question: Question, policy: SitePolicy) -> Outcome:
        """Whether the app of this bundle may ask."""
        if self.bundles.admits(question.arrays.get("bundle", b"")):
            return Outcome(Answer(notes={"site": policy.name}))
        return Outcome(refusal(policy.name), "its bundle is not approved; `cmrfed site approve` shows it")


def _until_the_next(interval_s: float, passed_s: float) -> float:
    """Seconds until the next whole multiple of the interval; an answer that is ready never leaves between two."""
    return math.ceil(passed_s / interval_s) * interval_s - passed_s if interval_s else 0.0


def _about(question: Question | None) -> dict[str, Any]:
    """Which run and round a question names, as far as it does; for the journal alone."""
    texts = question.documents.values() if question else ()
    named = next((values for text in texts if "run" in (values := _values(text))), {})
    task = named.get("task")
    return {
        "action": question.action if question else "",
        "run": str(named.get("run", ""))[:200],
        "round": str(task.get("round", "") if isinstance(task, dict) else "")[:20],
    }


def _values(text: str) -> dict[str, Any]:
    try:
        values = read_json_text(text, "")
    except UserError:
        return {}
    return values if isinstance(values, dict) else {}


def serve(door: Door, path: Path, group: int | None = None, ready: Callable[[], None] = lambda: None) -> None:
    """Answer at this socket until interrupted. `group`: the number of the group whose members may reach the socket.
    `ready` is called once it can be reached.

    Raises UserError where another process serves this home, or the socket cannot be made.
    """
    with _alone(door.home), _listening(path, group) as listener:
        places = threading.BoundedSemaphore(_MOST_VISITORS)
        ready()
        try:
            while True:
                connection, _ = listener.accept()
                if not places.acquire(blocking=False):
                    connection.close()
                    continue
                threading.Thread(target=_visit, args=(door, connection, places), daemon=True).start()
        finally:
            door.close()


def _visit(door: Door, connection: socket.socket, places: threading.BoundedSemaphore) -> None:
    with connection:
        try:
            door.answer(connection)
        except Exception as error:  # one visitor's failure is not the next one's; and nothing is said to him
            _log.warning("%s: a visitor was sent away: %s", door.home, for_the_console(error))
        finally:
            places.release()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home, as long as this process lives and however it ends."""
    descriptor = os.open(home / "door.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"{home}: another `cmrfed site serve` holds this home; there is one door") from None
    finally:
        os.close(descriptor)


def is_served(home: Path) -> bool | None:
    """Whether a process holds the home, without holding it for a moment oneself; None where this machine does not say
    (proc(5), /proc/locks)."""
    try:
        number = (home / "door.lock").stat().st_ino
        held = Path("/proc/locks").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False if Path("/proc/locks").exists() else None
    except OSError:
        return None
    return any("FLOCK" in line and f":{number} " in line for line in held.splitlines())


@contextmanager
def _listening(path: Path, group: int | None) -> Iterator[socket.socket]:
    """A socket that its owner and the group may connect to. One that a killed process left behind is replaced: the
    home, and so its socket, is held by this process alone."""
    try:
        listener = _bound(path)
    except OSError as error:
        raise UserError(f"socket: {path} cannot be listened at ({error.strerror or error})") from None
    with listener:
        try:
            _give(path, group)
            listener.listen(_MOST_VISITORS)
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A socket in this place, for its owner alone."""
    if path.is_socket():
        path.unlink()
    listener, closed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(closed)
    return listener


def _give(path: Path, group: int | None) -> None:
    """Let the members of a group connect too."""
    if group is None:
        return
    try:
        os.chown(path, -1, group)
        path.chmod(0o660)
    except PermissionError:
        raise UserError(
            "node_account: this account may not give its socket to that one's group; make it a member (adduser "
            "ACCOUNT GROUP) and start again"
        ) from None
