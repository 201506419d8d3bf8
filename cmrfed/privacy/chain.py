"""A ledger's rows as they are stored: each holds the hash of the one before, and an anchor beside the file the last.

A row's hash is SHA-256 over the JSON list of the schema's number and the row's columns, in order and as the text that
is stored, without the hash itself. Only what was checked is parsed, so that new kinds or fields of events, and their
defaults, change no old hash; a kind or field that this version does not know is refused by its name.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from cmrfed import __version__
from cmrfed.config import Stage, UserError, read_stage, read_stage_json_text
from cmrfed.core import atomic
from cmrfed.privacy.accounting import GaussianEvent

SCHEMA = 1
GENESIS = "0" * 64
COLUMNS = (
    "sequence",
    "time",
    "fingerprint",
    "run",
    "round",
    "request",
    "event",
    "delta",
    "epsilon",
    "software",
    "previous",
    "hash",
)
RESTORE = "restore the latest copy of ledger and anchor; without it, what these patients have spent is not known"
"""What to do about missing rows."""

Stored = dict[str, str | int]
"""A row as it is stored, by column: all text but for the sequence."""

_EVENTS = {"gaussian": GaussianEvent}


class LedgerRow(Stage):
    """One row: `event` was paid for, and `epsilon` (at `delta`) is what the cohort's worst-off patient had spent after.

    `fingerprint` is the cohort's, `time` in UTC. `request` is the receipt: the hash of request, patients and a secret
    of 256 bits, from which sample and noise were drawn. It makes the row's hash unguessable to whoever knows all else,
    so that a head may be told to anybody.
    """

    sequence: int
    time: str
    fingerprint: str
    run: str
    round: int
    request: str
    event: GaussianEvent
    delta: float
    epsilon: float
    software: str
    previous: str
    hash: str


def next_row(
    previous: Stored | None,
    fingerprint: str,
    run: str,
    round: int,
    request: str,
    event: GaussianEvent,
    delta: float,
    epsilon: float,
) -> Stored:
    """The row that follows `previous` (None: the first), hashed and ready to be stored."""
    row: Stored = {
        "sequence": int(previous["sequence"]) + 1 if previous else 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "run": run,
        "round": str(round),
        "request": request,
        "event": _event_text(event),
        "delta": repr(delta),
        "epsilon": repr(epsilon),
        "software": __version__,
        "previous": previous["hash"] if previous else GENESIS,
    }
    return row | {"hash": hash_of(row)}


def hash_of(row: Stored) -> str:
    """SHA-256 of a row's columns but for the hash; what is not text (a value of another type) has its own hash too."""
    values = [SCHEMA, *(row[column] for column in COLUMNS if column != "hash")]
    return hashlib.sha256(json.dumps(values, default=repr).encode()).hexdigest()


def check_chain(rows: Sequence[Stored], path: Path) -> None:
    """Raise UserError naming the first row that is missing, changed or out of place."""
    previous = GENESIS
    for expected, row in enumerate(rows, start=1):
        if row["sequence"] != expected:
            raise UserError(f"{path}: row {expected} of the ledger is missing; {RESTORE}")
        if row["previous"] != previous or row["hash"] != hash_of(row):
            raise UserError(f"{path}: row {expected} of the ledger was changed, inserted or moved; {RESTORE}")
        previous = str(row["hash"])


def parse(row: Stored, path: Path) -> LedgerRow:
    """A checked row's values. Raises UserError naming what this version does not understand."""
    where = f"{path}: row {row['sequence']} of the ledger"
    event = _parse_event(str(row["event"]), f"{where} (by cmrfed {row['software']})")
    return read_stage(LedgerRow, row | {"event": event}, where)


def _event_text(event: GaussianEvent) -> str:
    kind = next(kind for kind, known in _EVENTS.items() if type(event) is known)
    return json.dumps({"kind": kind, **event.model_dump(mode="json")}, sort_keys=True)


def _parse_event(text: str, where: str) -> GaussianEvent:
    try:
        values = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{where}: its event is not a JSON object; update cmrfed") from None
    kind = str(values.pop("kind", None))
    if kind not in _EVENTS:
        raise UserError(f"{where}: its event is of kind {kind!r}, unknown to cmrfed {__version__}; update cmrfed")
    if unknown := sorted(values.keys() - _EVENTS[kind].model_fields):
        raise UserError(f"{where}: its event has {unknown[0]!r}, unknown to cmrfed {__version__}; update cmrfed")
    return read_stage(_EVENTS[kind], values, where)


class Head(Stage):
    """The last row of a ledger: its number and its hash; number 0 and zeros before the first row."""

    sequence: int = Field(ge=0)
    hash: str = Field(pattern="^[0-9a-f]{64}$")


BEGINNING = Head(sequence=0, hash=GENESIS)


class Anchor:
    """A file that remembers a ledger's head: behind by one row after a crash, and never ahead.

    The one beside the ledger is there before the first row. A witness is kept elsewhere, by whoever uses the ledger: it
    may be missing, or behind by what others wrote. Readers take `read` before they look at the ledger, since a writer
    moves the ledger first.
    """

    def __init__(self, path: Path, witness: bool = False) -> None:
        self.path, self.witness = path, witness

    def read(self) -> Head | None:
        """None where there is no anchor. Raises UserError when the file is something else."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
            return read_stage_json_text(Head, text, where=str(self.path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{self.path}: the ledger's anchor cannot be read ({error.strerror})") from None
        except UserError as error:
            raise UserError(f"{error}; {RESTORE}") from None

    def write(self, head: Head) -> None:
        """Replace the file, durably. Only one writer at a time: whoever holds the ledger's lock."""
        atomic.write_text(self.path, head.model_dump_json() + "\n", mode=atomic.PRIVATE)

    def check(self, head: Head | None, rows: Sequence[Stored], path: Path) -> None:
        """Raise UserError when checked rows do not hold the `head` that was read before them."""
        if head is None:
            if rows and not self.witness and not self.path.exists():  # while others write the file may have come since
                raise UserError(f"{self.path}: is missing, and with it the ledger's last row; {RESTORE}")
        elif head.sequence > len(rows):
            missing = f"row {head.sequence} of the ledger is missing" if rows else "the ledger's rows are missing"
            raise UserError(f"{path}: {missing}, and with it all after row {len(rows)}; {RESTORE}")
        elif head.sequence and rows[head.sequence - 1]["hash"] != head.hash:
            raise UserError(f"{path}: row {head.sequence} of the ledger is not the one in {self.path.name}; {RESTORE}")
