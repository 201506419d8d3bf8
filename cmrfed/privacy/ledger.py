"""A hospital's ledger: what each of its patients has been exposed to, on its own disk, for good.

**Per patient.** A row names the cohort that a release was made from, and the ledger keeps who was in it
(`cmrfed.privacy.cohort`). A release concerns a patient if its cohort holds the same person. Patients who come or go,
another run's name, new names for the patients, another reader or resolution open no new budget for anybody. Whoever's
budget is used up is left out of the next release (`cmrfed.privacy.filter` says why that is private), and nobody who
asks for one is told.

**One a hospital.** It lies outside the homes that use it, so that a home copied, reinstalled or prepared anew goes on
with what was spent. Any number of processes may use it.

**Durable.** Rows are only ever appended, to a SQLite file that syncs file and folder at each commit. A row commits
before patients' data are touched: a crash afterwards overstates what was spent and never understates it.

**Evident.** Rows are chained by their hashes, and the last one's is in an anchor, `ledger.anchor` (`cmrfed.privacy.
chain`), replaced after each commit, and in a witness that each home keeps for itself. Every reading checks all of it,
and finds and names rows that were changed, dropped, inserted or moved, lists of patients that were changed or are
missing, and, since anchor and witness remember later rows, a tail cut off, an older copy put back and a deleted ledger.

Not found: whoever rewrites ledger, anchor and all witnesses together, puts older copies of all of them back or deletes
all leaves what looks whole. Only a head that somebody else wrote down finds that, `verify(head)`; every answer to a
server carries one. Nor can a ledger know a copy of itself on another machine, or a person who comes back under another
name and with other images at once.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cmrfed.config import UserError
from cmrfed.privacy import filter
from cmrfed.privacy.accounting import GaussianEvent, epsilon
from cmrfed.privacy.chain import (
    BEGINNING,
    COLUMNS,
    GENESIS,
    RESTORE,
    SCHEMA,
    Anchor,
    Head,
    LedgerRow,
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


Exposure = tuple[int, ...]
"""Steps of each kind of event that a person was exposed to."""


class BudgetExceeded(UserError):
    """The next release would cost more than is allowed; nothing was recorded and nothing may be released."""


@dataclass(frozen=True)
class Limits:
    """What a release may bring anybody to.

    run_epsilon: of one run at `delta`, by the plan's `accountant`. Its events are public, and so is a refusal.
    total_epsilon: of each patient over all runs at `total_delta` (None: `delta`), by the filter at `order`, which must
        come from the site's own limits (`filter.renyi_order`). Whoever would exceed it is left out.
    """

    run_epsilon: float
    total_epsilon: float
    delta: float
    order: float
    accountant: str = "prv"
    total_delta: float | None = None


@dataclass(frozen=True)
class Book:
    """A ledger's verified contents: its rows in order, the same as they are stored, and its cohorts."""

    rows: tuple[LedgerRow, ...] = ()
    stored: tuple[Stored, ...] = ()
    cohorts: tuple[Cohort, ...] = ()

    @property
    def head(self) -> str:
        """The last row's hash, which stands for the whole ledger; zeros where there is no row."""
        return self.rows[-1].hash if self.rows else GENESIS

    def followed_by(self, row: LedgerRow, cohort: Cohort) -> "Book":
        """The book with one more row, made from that cohort."""
        return replace(self._with(cohort), rows=(*self.rows, row))

    @property
    def number_of_patients(self) -> int:
        """How many people the rows are about, each counted once however often a data set held them."""
        return len(set(np.concatenate([np.empty(0, int), *self._people]).tolist()))

    def run_epsilon(self, run: str, delta: float, accountant: str, then: GaussianEvent | None = None) -> float:
        """Epsilon at `delta` of all of a run's rows, whoever they were made from, with event `then` on top.

        A function of public facts: what a server asked for and was answered.
        """
        events = [row.event for row in self.rows if row.run == run]
        return epsilon([*events, then] if then else events, delta, accountant)

    def spent(
        self, cohort: Cohort, delta: float, order: float | None = None, then: GaussianEvent | None = None
    ) -> float:
        """Epsilon at `delta` that the cohort's worst-off patient has spent in all, with event `then` on top, by the
        filter at `order` (None: the order of a limit of 8)."""
        chosen = filter.renyi_order(8.0, delta) if order is None else order
        kinds, histories = self._with(cohort)._histories(cohort)
        more = [then] if then else []
        worst = _undominated(set(histories.values()))
        return max((filter.spent([*_events(kinds, one), *more], delta, chosen) for one in worst), default=0.0)

    def within_budget(self, cohort: Cohort, event: GaussianEvent, limits: Limits) -> Cohort:
        """Those of the cohort's patients who may be exposed to one more event: each decided by what that patient was
        exposed to before, and by nobody else's state."""
        kinds, histories = self._with(cohort)._histories(cohort)
        delta = limits.total_delta or limits.delta
        after = {
            one: filter.spent([*_events(kinds, one), event], delta, limits.order) for one in set(histories.values())
        }
        return cohort.only({key for key, one in histories.items() if after[one] <= limits.total_epsilon})

    def exposed(self, cohort: Cohort, is_of_run: Callable[[str], bool]) -> int:
        """How many of the cohort's people any release of the runs so named was made from."""
        made_from = {row.fingerprint for row in self.rows if is_of_run(row.run)}
        ours, *theirs = people([cohort, *(one for one in self.cohorts if one.fingerprint in made_from)])
        return len(set(ours.tolist()) & {person for one in theirs for person in one.tolist()})

    def _with(self, cohort: Cohort) -> "Book":
        return self if cohort in self.cohorts else replace(self, cohorts=(*self.cohorts, cohort))

    def _histories(self, cohort: Cohort) -> tuple[list[GaussianEvent], dict[bytes, Exposure]]:
        """The kinds of events, each as one step; and, by the key of each patient of a cohort of this book, the steps of
        each kind that the person was exposed to."""
        kinds, steps = self._steps()
        persons = self._people[self.cohorts.index(cohort)]
        exposure = np.stack([np.isin(persons, of) for of in self._people], axis=1) @ steps
        return kinds, dict(zip(cohort.first_keys(), map(tuple, exposure.tolist()), strict=True))

    def _steps(self) -> tuple[list[GaussianEvent], np.ndarray]:
        """The kinds of events, each as one step, and how many steps of each kind were taken on each cohort."""
        kinds = [row.event.model_copy(update={"steps": 1, "noise": "local"}) for row in self.rows]
        column = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}  # both noises are composed alike
        row = {cohort.fingerprint: number for number, cohort in enumerate(self.cohorts)}
        steps = np.zeros((len(self.cohorts), len(column)), dtype=np.int64)
        for entry, kind in zip(self.rows, kinds, strict=True):
            steps[row[entry.fingerprint], column[kind]] += entry.event.steps
        return list(column), steps

    @cached_property
    def _people(self) -> list[np.ndarray]:
        return people(self.cohorts)


def _events(kinds: list[GaussianEvent], history: Exposure) -> list[GaussianEvent]:
    """A history of steps by kind, as events."""
    return [kind.model_copy(update={"steps": n}) for kind, n in zip(kinds, history, strict=True) if n]


def _undominated(histories: Iterable[Exposure]) -> list[Exposure]:
    """The histories that no other one exceeds in every kind: one of them is the worst."""
    kept: list[Exposure] = []
    for history in sorted(histories, key=sum, reverse=True):
        if not any(all(np.less_equal(history, larger)) for larger in kept):
            kept.append(history)
    return kept


class Ledger:
    """An append-only, hash-chained record of releases. Safe to use from several processes at once.

    `witness` is a file elsewhere, in the home of whoever uses the ledger, that remembers the last head it saw. Neither
    making this object nor reading creates a file; the first `record` creates ledger and folder. Whatever is wrong with
    the ledger is a UserError of one line, from every method.
    """

    def __init__(self, path: Path, witness: Path | None = None) -> None:
        self.path = path
        self.anchor = Anchor(path.with_suffix(".anchor"))
        self._witness = Anchor(witness, witness=True) if witness else None

    def rows(self, fingerprint: str | None = None, run: str | None = None) -> list[LedgerRow]:
        """Verified rows in order, of one cohort and one run or of all; none where there is no ledger yet."""
        rows = self._book().rows
        return [row for row in rows if fingerprint in (None, row.fingerprint) and run in (None, row.run)]

    def spent(self, cohort: Cohort, delta: float, then: GaussianEvent | None = None) -> float:
        """Epsilon at `delta` that the cohort's worst-off patient has spent over all runs, with event `then` on top."""
        return self._book().spent(cohort, delta, then=then)

    def exposed(self, cohort: Cohort, is_of_run: Callable[[str], bool]) -> int:
        """How many of the cohort's people any release of the runs so named was made from; 0 without a ledger."""
        return self._book().exposed(cohort, is_of_run)

    def head(self) -> str:
        """The last row's hash, which stands for all of them; zeros without a ledger."""
        return self._book().head

    def verify(self, head: str | None = None) -> Book:
        """The verified contents; `head` is the hash of any row, written down earlier and kept elsewhere.

        Raises UserError naming the first bad row, when no row has that hash, and when there is no ledger.
        """
        book = self._book()
        if not book.rows:
            raise UserError(f"{self.path}: there is no ledger; the first release begins one")
        if head is not None:
            self._refuse_unknown(book, head)
        return book

    def refuse_unknown(self, head: str) -> None:
        """Raise UserError unless this ledger once ended with `head`, as somebody else remembers it: zeros before its
        first row, else the hash of one of its rows."""
        if head != GENESIS:
            self._refuse_unknown(self._book(), head)

    def _refuse_unknown(self, book: Book, head: str) -> None:
        if head not in {row.hash for row in book.rows}:
            raise UserError(
                f"{self.path}: no row has hash {head:.64}: it was rewritten, is an older copy or another ledger; "
                f"{RESTORE}"
            )

    def refuse_beyond(self, run: str, event: GaussianEvent, limits: Limits) -> None:
        """Raise BudgetExceeded where one more event is too much for the run: by the run's own rows, which are public,
        and by no patient's."""
        _refuse_beyond_run(self._book(), run, event, limits)

    def record(
        self, cohort: Cohort, run: str, round: int, request: str, event: GaussianEvent, limits: Limits
    ) -> tuple[LedgerRow, Cohort]:
        """Pay for an event: commit its row, durably; return it and those of the cohort's patients who may take part.

        Call before patients' data are touched, and then touch nobody else's. Patients without budget are left out,
        possibly all of them. Raises BudgetExceeded, and records nothing, where the run itself would have spent more
        than `limits.run_epsilon`.
        """
        with self._locked() as connection:
            heads = self._heads()
            book = self._read(connection, heads)
            _refuse_beyond_run(book, run, event, limits)
            last = book.stored[-1] if book.stored else None
            if last and (head := _head(last)) != heads[0]:  # a crash came between commit and anchor: never two behind
                self.anchor.write(head)
            admitted = book.within_budget(cohort, event, limits)
            row = next_row(last, admitted.fingerprint, run, round, request, event, limits.delta, 0.0)
            after = book.followed_by(parse(row, self.path), admitted)
            spent = after.spent(admitted, limits.delta, limits.order)
            row = next_row(last, admitted.fingerprint, run, round, request, event, limits.delta, spent)
            _append(connection, row, None if admitted in book.cohorts else admitted)
        self._anchor_head()
        return parse(row, self.path), admitted

    def paid(self, run: str, request: str) -> Cohort | None:
        """Whom a row of this run with that receipt paid for; None where there is no such row.

        Unlike `rows` it heals the anchor, which a crash may have left behind that row: nothing leaves before both.
        """
        book = self._book()
        found = [row.fingerprint for row in book.rows if (row.run, row.request) == (run, request)]
        if not found:
            return None
        self._anchor_head()
        return next(cohort for cohort in book.cohorts if cohort.fingerprint == found[-1])

    def _anchor_head(self) -> None:
        """Set anchor and witness on the last row, which may be another process' by now."""
        with self._locked() as connection:
            head = _head(_rows(connection, "ORDER BY sequence DESC LIMIT 1")[0])
            self.anchor.write(head)
            if self._witness:
                self._witness.write(head)

    def _heads(self) -> tuple[Head | None, Head | None]:
        """What anchor and witness remember, read before the ledger is."""
        return self.anchor.read(), self._witness.read() if self._witness else None

    def _book(self) -> Book:
        heads = self._heads()
        if self._is_missing(heads):
            return Book()
        with self._connection() as connection:
            connection.execute("BEGIN")
            return self._read(connection, heads)

    def _is_missing(self, heads: Sequence[Head | None]) -> bool:
        """Whether there is no file yet. Raises UserError when there was one."""
        had = max((head.sequence for head in heads if head), default=0)
        if had and not self.path.exists():
            raise UserError(f"{self.path}: is missing, and had {had} rows; {RESTORE}")
        return not self.path.exists()

    def _read(self, connection: sqlite3.Connection, heads: tuple[Head | None, Head | None]) -> Book:
        """Check everything, then parse it. `heads` were read before the connection's transaction began."""
        rows = _rows(connection) if _has_tables(connection, self.path) else []
        check_chain(rows, self.path)
        self.anchor.check(heads[0], rows, self.path)
        if self._witness:
            self._witness.check(heads[1], rows, self.path)
        return Book(
            rows=tuple(parse(row, self.path) for row in rows),
            stored=tuple(rows),
            cohorts=_cohorts(connection, rows, self.path) if rows else (),
        )

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        """The only writer, until the end commits: durably, or nothing of it."""
        begins = self._is_missing(self._heads())
        if begins and self.anchor.read() is None:
            self.anchor.write(BEGINNING)
        with self._connection(create=begins) as connection:
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


def _refuse_beyond_run(book: Book, run: str, event: GaussianEvent, limits: Limits) -> None:
    spent = book.run_epsilon(run, limits.delta, limits.accountant, then=event)
    if spent > limits.run_epsilon:
        raise BudgetExceeded(
            f"this release would bring the run to epsilon {spent:.3f} at delta {limits.delta:g}, above the "
            f"{limits.run_epsilon:.3f} of its plan; nothing was released"
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
