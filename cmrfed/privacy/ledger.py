"""A site's ledger: what each patient of a data set has been exposed to, on the site's own disk, for good.

Rows are only ever appended, in a SQLite file (WAL, synchronous FULL), and each holds the hash of the one before: a
changed, dropped or inserted row is found. A row commits before the update it pays for is released: a crash between the
two overstates what was spent and never understates it. The data set's content fingerprint is the key, so that the
same patients under another run's name share one budget.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cmrfed import __version__
from cmrfed.config import Stage, UserError
from cmrfed.privacy.accounting import GaussianEvent, epsilon

_GENESIS = "0" * 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    sequence INTEGER PRIMARY KEY, time TEXT NOT NULL, fingerprint TEXT NOT NULL, run TEXT NOT NULL,
    round INTEGER NOT NULL, request TEXT NOT NULL, event TEXT NOT NULL, delta REAL NOT NULL, epsilon REAL NOT NULL,
    software TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL UNIQUE);
"""
_COLUMNS = (
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
)


class BudgetExceeded(UserError):
    """The next release would cost more than is allowed; nothing was recorded and nothing may be released."""


class Entry(Stage):
    """One row: `event` was paid for, and `epsilon` (at `delta`) is what the data set's patients had spent after it.

    `request` is the hash of request and answer together; the same bytes may be sent again at no cost.
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


class Ledger:
    """An append-only, hash-chained record of releases. Safe to open from several processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            yield connection
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.path}: the ledger cannot be used ({error}); restore it before training") from error
        finally:
            connection.close()

    def entries(self, fingerprint: str | None = None, run: str | None = None) -> list[Entry]:
        """Verified rows in order, of one data set and one run or of all. Raises UserError naming the first bad row."""
        return [row for row in self._verified() if fingerprint in (None, row.fingerprint) and run in (None, row.run)]

    def _verified(self) -> list[Entry]:
        with self._connection() as connection:
            return list(_check_chain(_read(connection), self.path))

    def record(
        self,
        fingerprint: str,
        run: str,
        round: int,
        request: str,
        event: GaussianEvent,
        delta: float,
        run_epsilon: float,
        total_epsilon: float,
    ) -> Entry:
        """Pay for an event: commit its row, durably, and return it. Call before the update leaves.

        Raises BudgetExceeded, and records nothing, when the data set's patients would have spent more than
        `run_epsilon` in this run or `total_epsilon` over all runs.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                chain = list(_check_chain(_read(connection), self.path))
                entry = _next_entry(chain, fingerprint, run, round, request, event, delta)
                in_run = [row.event for row in (*chain, entry) if (row.fingerprint, row.run) == (fingerprint, run)]
                _refuse_above(run_epsilon, epsilon(in_run, delta), entry, "this run")
                _refuse_above(total_epsilon, entry.epsilon, entry, "all runs")
                values = (*_values(entry), entry.hash)
                connection.execute(f"INSERT INTO ledger VALUES ({','.join('?' * len(values))})", values)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        return entry


def _next_entry(
    chain: list[Entry], fingerprint: str, run: str, round: int, request: str, event: GaussianEvent, delta: float
) -> Entry:
    spent = [row.event for row in chain if row.fingerprint == fingerprint] + [event]
    entry = Entry(
        sequence=len(chain) + 1,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        fingerprint=fingerprint,
        run=run,
        round=round,
        request=request,
        event=event,
        delta=delta,
        epsilon=epsilon(spent, delta),
        software=__version__,
        previous=chain[-1].hash if chain else _GENESIS,
        hash="",
    )
    return entry.model_copy(update={"hash": _hash(entry)})


def _refuse_above(allowed_epsilon: float, spent: float, entry: Entry, scope: str) -> None:
    if spent > allowed_epsilon:
        raise BudgetExceeded(
            f"round {entry.round} would bring these patients to epsilon {spent:.3f} at delta {entry.delta:g} over "
            f"{scope}, above the allowed {allowed_epsilon:.3f}; nothing was released"
        )


def _values(entry: Entry) -> tuple[object, ...]:
    """The row as stored, without its hash; the event as canonical JSON."""
    event = json.dumps(entry.event.model_dump(), sort_keys=True)
    return tuple(event if column == "event" else getattr(entry, column) for column in _COLUMNS)


def _hash(entry: Entry) -> str:
    """SHA-256 of all columns, the previous row's hash among them."""
    return hashlib.sha256(json.dumps(_values(entry)).encode()).hexdigest()


def _read(connection: sqlite3.Connection) -> Iterator[Entry]:
    for row in connection.execute(f"SELECT {','.join(_COLUMNS)}, hash FROM ledger ORDER BY sequence"):
        fields = dict(zip((*_COLUMNS, "hash"), row, strict=True))
        yield Entry(**{**fields, "event": GaussianEvent(**json.loads(fields["event"]))})


def _check_chain(entries: Iterator[Entry], path: Path) -> Iterator[Entry]:
    previous = _GENESIS
    for expected, entry in enumerate(entries, start=1):
        if entry.sequence != expected:
            raise UserError(f"{path}: row {expected} of the ledger is missing; restore the file from its backup")
        if entry.previous != previous or entry.hash != _hash(entry):
            raise UserError(f"{path}: row {expected} of the ledger was changed; restore the file from its backup")
        previous = entry.hash
        yield entry
