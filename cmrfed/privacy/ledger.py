"""A site's ledger: what each of its patients has been exposed to, on the site's own disk, for good.

**Per patient.** A row names the cohort that a release was made from, and the ledger keeps who was in it
(`cmrfed.privacy.cohort`). A release concerns a patient if its cohort holds the same person; what a cohort has spent is
what its worst-off patient has. Patients who come or go, another run's name, new names for the patients or another
resolution open no new budget for anybody.

**Durable.** Rows are only ever appended, to a SQLite file that syncs file and folder at each commit. A row commits
before the update it pays for is released: a crash between the two overstates what was spent and never understates it.

**Evident.** Rows are chained by their hashes, and the last one's is in an anchor, `ledger.anchor` (`cmrfed.privacy.
chain`), replaced after each commit. Every reading checks all of it, and finds and names rows that were changed,
dropped, inserted or moved, lists of patients that were changed or are missing, and, since the anchor remembers later
rows, a tail cut off, an older copy put back and a deleted ledger.

Not found: no secret is involved, so that whoever rewrites ledger and anchor together, puts older copies of both back
or deletes both leaves what looks whole. Only a head that somebody else wrote down finds that, `verify(head)`. Nor can
a ledger know a person who comes back under another name and with other images at once.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cmrfed.config import UserError
from cmrfed.privacy.accounting import GaussianEvent, epsilon
from cmrfed.privacy.chain import (
    COLUMNS,
    GENESIS,
    RESTORE,
    SCHEMA,
    Anchor,
    Entry,
    Head,
    Stored,
    check_chain,
    next_row,
    parse,
)
from cmrfed.privacy.cohort import Cohort, people

_TABLES = (
    "CREATE TABLE ledger (sequence INTEGER PRIMARY KEY, "
    + ", ".join(f"{column} TEXT NOT NULL" for column in COLUMNS[1:])
    + ")",
    "CREATE TABLE cohorts (fingerprint TEXT PRIMARY KEY, members BLOB NOT NULL)",
    *(
        f"CREATE TRIGGER no_{verb}_of_{table} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'rows of a ledger are never changed'); END"
        for table in ("ledger", "cohorts")
        for verb in ("update", "delete")
    ),
    f"PRAGMA user_version = {SCHEMA}",
)


class BudgetExceeded(UserError):
    """The next release would cost more than is allowed; nothing was recorded and nothing may be released."""


@dataclass(frozen=True)
class Book:
    """A ledger's verified contents: its entries in order, the same rows as they are stored, and its cohorts."""

    entries: tuple[Entry, ...] = ()
    stored: tuple[Stored, ...] = ()
    cohorts: tuple[Cohort, ...] = ()

    @property
    def head(self) -> str:
        """The last row's hash, which stands for the whole ledger; zeros where there is no row."""
        return self.entries[-1].hash if self.entries else GENESIS

    @property
    def number_of_patients(self) -> int:
        """How many people the rows are about, each counted once however often a data set held them."""
        return 1 + max(int(persons.max()) for persons in self._people) if self.cohorts else 0

    def spent(self, cohort: Cohort, delta: float, run: str | None = None, then: GaussianEvent | None = None) -> float:
        """Epsilon at `delta` of the cohort's worst-off patient, in one run or in all, with event `then` on top.

        An upper bound. Patients are grouped by what they were exposed to, and a group that another one exceeds in
        every kind of event cannot be the worst-off: usually one group is left, and the accountant is asked once.
        """
        book = self if cohort in self.cohorts else replace(self, cohorts=(*self.cohorts, cohort))
        releases = [(row.fingerprint, row.event) for row in self.entries if run in (None, row.run)]
        releases += [(cohort.fingerprint, then)] if then else []
        if not releases:
            return 0.0
        kinds, steps = book._steps(releases)
        histories = np.unique(book._exposure(cohort) @ steps, axis=0)
        return max(epsilon(_events(kinds, history), delta) for history in _undominated(histories))

    def exposed(self, cohort: Cohort, run: str) -> int:
        """How many of the cohort's people any release of a run was made from."""
        made_from = {row.fingerprint for row in self.entries if row.run == run}
        ours, *theirs = people([cohort, *(one for one in self.cohorts if one.fingerprint in made_from)])
        return int(np.isin(ours, np.concatenate(theirs)).sum()) if theirs else 0

    def _steps(self, releases: list[tuple[str, GaussianEvent]]) -> tuple[list[GaussianEvent], np.ndarray]:
        """The kinds of events, each as one step, and how many steps of each kind were taken on each cohort."""
        column: dict[GaussianEvent, int] = {}
        row = {cohort.fingerprint: number for number, cohort in enumerate(self.cohorts)}
        steps = np.zeros((len(self.cohorts), len(releases)), dtype=np.int64)
        for fingerprint, event in releases:
            kind = event.model_copy(update={"steps": 1})
            steps[row[fingerprint], column.setdefault(kind, len(column))] += event.steps
        return list(column), steps[:, : len(column)]

    def _exposure(self, cohort: Cohort) -> np.ndarray:
        """(patient, cohort): 1 where that person, a patient of this cohort, is in a cohort."""
        present = np.zeros((self.number_of_patients, len(self.cohorts)), dtype=np.int64)
        for number, persons in enumerate(self._people):
            present[persons, number] = 1
        return present[self._people[self.cohorts.index(cohort)]]

    @cached_property
    def _people(self) -> list[np.ndarray]:
        return people(self.cohorts)


def _events(kinds: list[GaussianEvent], history: np.ndarray) -> list[GaussianEvent]:
    """A history of steps by kind, as events."""
    return [kind.model_copy(update={"steps": int(n)}) for kind, n in zip(kinds, history, strict=True) if n]


def _undominated(histories: np.ndarray) -> list[np.ndarray]:
    """The rows of (history, kind) that no other row exceeds in every kind."""
    kept: list[np.ndarray] = []
    for history in sorted(histories, key=lambda steps: -int(steps.sum())):
        if not any((history <= larger).all() for larger in kept):
            kept.append(history)
    return kept


class Ledger:
    """An append-only, hash-chained record of releases. Safe to use from several processes at once.

    Neither making this object nor reading creates a file; the first `record` creates ledger and folder. Whatever is
    wrong with the ledger is a UserError of one line, from every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.anchor = Anchor(path.with_suffix(".anchor"))

    def entries(self, fingerprint: str | None = None, run: str | None = None) -> list[Entry]:
        """Verified rows in order, of one cohort and one run or of all; none where there is no ledger yet."""
        rows = self._book().entries
        return [row for row in rows if fingerprint in (None, row.fingerprint) and run in (None, row.run)]

    def spent(self, cohort: Cohort, delta: float) -> float:
        """Epsilon at `delta` that the cohort's worst-off patient has spent over all runs; 0 without a ledger."""
        return self._book().spent(cohort, delta)

    def exposed(self, cohort: Cohort, run: str) -> int:
        """How many of the cohort's people any release of a run was made from; 0 without a ledger."""
        return self._book().exposed(cohort, run)

    def verify(self, head: str | None = None) -> Book:
        """The verified contents; `head` is the hash of any row, written down earlier and kept elsewhere.

        Raises UserError naming the first bad row, when no row has that hash, and when there is no ledger.
        """
        book = self._book()
        if not book.entries:
            raise UserError(f"{self.path}: there is no ledger; the first release begins one")
        if head is not None and head not in {row.hash for row in book.entries}:
            raise UserError(
                f"{self.path}: no row has hash {head}: it was rewritten, is an older copy or another ledger; {RESTORE}"
            )
        return book

    def refuse_beyond(
        self, cohort: Cohort, run: str, event: GaussianEvent, delta: float, run_epsilon: float, total_epsilon: float
    ) -> None:
        """Raise BudgetExceeded where `record` would, and record nothing; ask before work is spent on a release."""
        _spend(self._book(), cohort, run, event, delta, run_epsilon, total_epsilon)

    def record(
        self,
        cohort: Cohort,
        run: str,
        round: int,
        request: str,
        event: GaussianEvent,
        delta: float,
        run_epsilon: float,
        total_epsilon: float,
    ) -> Entry:
        """Pay for an event: commit its row, durably, and return it. Call before the update leaves.

        Raises BudgetExceeded, and records nothing, when a patient of the cohort would have spent more than
        `run_epsilon` in this run or `total_epsilon` over all runs.
        """
        with self._locked() as connection:
            anchored = self.anchor.read()
            book = self._read(connection, anchored)
            spent = _spend(book, cohort, run, event, delta, run_epsilon, total_epsilon)
            last = book.stored[-1] if book.stored else None
            if last and (head := _head(last)) != anchored:  # a crash came between commit and anchor: never two behind
                self.anchor.write(head)
            row = next_row(last, cohort.fingerprint, run, round, request, event, delta, spent)
            _append(connection, row, None if cohort in book.cohorts else cohort)
        self._anchor_head()
        return parse(row, self.path)

    def paid(self, run: str, request: str) -> bool:
        """Whether a row of this run paid for these very bytes, which may then be sent again at no cost.

        Unlike `entries` it heals the anchor, which a crash may have left behind that row: nothing leaves before both.
        """
        if all(row.request != request for row in self.entries(run=run)):
            return False
        self._anchor_head()
        return True

    def _anchor_head(self) -> None:
        """Set the anchor on the last row, which may be another process' by now."""
        with self._locked() as connection:
            self.anchor.write(_head(_rows(connection, "ORDER BY sequence DESC LIMIT 1")[0]))

    def _book(self) -> Book:
        anchored = self.anchor.read()
        if self._is_missing(anchored):
            return Book()
        with self._connection() as connection:
            connection.execute("BEGIN")
            return self._read(connection, anchored)

    def _is_missing(self, anchored: Head | None) -> bool:
        """Whether there is no file yet. Raises UserError when there was one."""
        if anchored and not self.path.exists():
            raise UserError(f"{self.path}: is missing, and had {anchored.sequence} rows; {RESTORE}")
        return not self.path.exists()

    def _read(self, connection: sqlite3.Connection, anchored: Head | None) -> Book:
        """Check everything, then parse it. `anchored` was read before the connection's transaction began."""
        rows = _rows(connection) if _has_tables(connection, self.path) else []
        check_chain(rows, self.path)
        self.anchor.check(anchored, rows, self.path)
        return Book(
            entries=tuple(parse(row, self.path) for row in rows),
            stored=tuple(rows),
            cohorts=_cohorts(connection, rows, self.path) if rows else (),
        )

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        """The only writer, until the end commits: durably, or nothing of it."""
        with self._connection(create=self._is_missing(self.anchor.read())) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _connection(self, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Closing it takes back what was not committed. Only with `create` is a file made where there is none.

        With a rollback journal: unlike a WAL it leaves no files of a reader's behind, and a copy of the file is whole.
        """
        connection = None
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            where = f"{self.path.resolve().as_uri()}?mode=rw"
            connection = sqlite3.connect(where, uri=True, timeout=60, isolation_level=None)
            connection.execute("PRAGMA synchronous=EXTRA")
            yield connection
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"{self.path}: the ledger cannot be used ({error}); mend that before training") from error
        finally:
            if connection:
                connection.close()


def _spend(
    book: Book, cohort: Cohort, run: str, event: GaussianEvent, delta: float, run_epsilon: float, total_epsilon: float
) -> float:
    """What the cohort will have spent over all runs after the event. Raises BudgetExceeded."""
    _refuse_above(run_epsilon, book.spent(cohort, delta, run, then=event), delta, "this run")
    spent = book.spent(cohort, delta, then=event)
    _refuse_above(total_epsilon, spent, delta, "all runs")
    return spent


def _refuse_above(allowed_epsilon: float, spent: float, delta: float, scope: str) -> None:
    if spent > allowed_epsilon:
        raise BudgetExceeded(
            f"this release would bring a patient to epsilon {spent:.3f} at delta {delta:g} over {scope}, above the "
            f"allowed {allowed_epsilon:.3f}; nothing was released"
        )


def _has_tables(connection: sqlite3.Connection, path: Path) -> bool:
    """False for a file whose first row was never committed. Raises UserError for another schema."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version != SCHEMA and (version or tables):
        raise UserError(f"{path}: is a ledger of schema {version}, not {SCHEMA}; use the cmrfed that wrote it")
    return bool(tables)


def _rows(connection: sqlite3.Connection, order: str = "ORDER BY sequence") -> list[Stored]:
    stored = connection.execute(f"SELECT {','.join(COLUMNS)} FROM ledger {order}")
    return [dict(zip(COLUMNS, row, strict=True)) for row in stored]


def _head(row: Stored) -> Head:
    return Head(sequence=int(row["sequence"]), hash=str(row["hash"]))


def _append(connection: sqlite3.Connection, row: Stored, new_cohort: Cohort | None) -> None:
    if row["sequence"] == 1:
        for statement in _TABLES:
            connection.execute(statement)
    if new_cohort:
        connection.execute("INSERT INTO cohorts VALUES (?, ?)", (new_cohort.fingerprint, new_cohort.members))
    connection.execute(f"INSERT INTO ledger VALUES ({','.join('?' * len(row))})", [row[column] for column in COLUMNS])


def _cohorts(connection: sqlite3.Connection, rows: list[Stored], path: Path) -> tuple[Cohort, ...]:
    """The cohorts in the order of their first rows. Raises UserError naming a row whose patients are not the same."""
    members = dict(connection.execute("SELECT fingerprint, members FROM cohorts"))
    first: dict[str, str | int] = {}
    for row in rows:
        first.setdefault(str(row["fingerprint"]), row["sequence"])
    for fingerprint, number in first.items():
        if fingerprint not in members:
            raise UserError(f"{path}: the patients of row {number} of the ledger are missing; {RESTORE}")
        if not _is_list_of(fingerprint, members[fingerprint]):
            raise UserError(f"{path}: the patients of row {number} of the ledger were changed; {RESTORE}")
    if others := members.keys() - first:
        raise UserError(f"{path}: holds patients of no row ({min(others)[:16]}); {RESTORE}")
    return tuple(Cohort(members[fingerprint]) for fingerprint in first)


def _is_list_of(fingerprint: str, members: object) -> bool:
    return isinstance(members, bytes) and hashlib.sha256(members).hexdigest() == fingerprint
