"""One home as the hospital's data-protection officer sees it: asked, decided, spent, left, and what waits to be read.

For the hospital's own eyes. Patients are counted and never named; a reason in the journal may name what an error found.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmrfed.config import Stage, UserError
from cmrfed.door.bundles import Bundles
from cmrfed.door.daemon import is_served
from cmrfed.door.journal import read_journal
from cmrfed.privacy import Book
from cmrfed.site import Home, SitePolicy
from cmrfed.site.pause import Pause, read_pause

_SHOWN = 50
"""Lines of the journal on the page, the last ones."""


class Asked(Stage):
    """A line of the journal: a question, or what the hospital's own people decided.

    epsilon: what the worst-off patient of its release had spent after it; None where the answer cost nothing more.
    `time` is Unix time, s. bytes_in, bytes_out: of the question, and of what left.
    """

    time: float
    action: str
    run: str
    round: str
    decision: str
    reason: str
    by: str
    bytes_in: int
    bytes_out: int
    epsilon: float | None = None


class GroupSpent(Stage):
    """Patients who were trained on together: how many, in how many releases, and the epsilon of the worst-off one, by
    the filter that decides who may take part again."""

    patients: int
    releases: int
    first_time: str
    last_time: str
    epsilon: float


class Waiting(Stage):
    """A bundle that came and is not approved. `since` is Unix time, s; size in bytes."""

    bundle: str
    since: float
    size: int


class HospitalStatus(Stage):
    """All of it. `served`: whether a door holds the home, None where this machine does not say. `counts`: lines of the
    journal by decision. `notes`: what cannot be read, and why."""

    name: str
    home: str
    read_at: float
    pause: Pause | None
    served: bool | None
    policy: SitePolicy
    groups: tuple[GroupSpent, ...]
    rows: int
    audits: int
    asked: tuple[Asked, ...]
    lines: int
    counts: dict[str, int]
    bytes_out: int
    approved: tuple[str, ...]
    waiting: tuple[Waiting, ...]
    notes: tuple[str, ...]

    @property
    def spent(self) -> float:
        """Epsilon of the worst-off patient of all."""
        return max((group.epsilon for group in self.groups), default=0.0)

    @property
    def left(self) -> float:
        return max(0.0, self.policy.maximum_epsilon - self.spent)


@dataclass
class HospitalReader:
    """Reads a home, again and again; what the accountants found for a ledger is kept until the ledger has another
    head."""

    folder: Path
    _known: tuple[object, tuple[GroupSpent, ...]] = (None, ())

    def read(self, now: float) -> HospitalStatus:
        """Raises UserError where the folder is no home."""
        home, notes = Home(self.folder), list[str]()
        book, lines = _book(home, notes), _lines(self.folder, notes)
        approved, waiting = _bundles(self.folder, notes)
        return HospitalStatus(
            name=home.policy.name,
            home=str(self.folder),
            read_at=now,
            pause=read_pause(self.folder),
            served=is_served(self.folder),
            policy=home.policy,
            groups=self._groups(book, home.policy),
            rows=len(book.rows),
            audits=len(list((self.folder / "audits").glob("*.json"))),
            asked=tuple(reversed(list(_asked(lines, book, home)[-_SHOWN:]))),
            lines=len(lines),
            counts=_counts(lines),
            bytes_out=sum(_left(line) for line in lines),
            approved=approved,
            waiting=waiting,
            notes=tuple(notes),
        )

    def _groups(self, book: Book, policy: SitePolicy) -> tuple[GroupSpent, ...]:
        head = (book.head, policy.digest)
        if self._known[0] != head:
            self._known = (head, tuple(_spent(book, policy)))
        return self._known[1]


def _book(home: Home, notes: list[str]) -> Book:
    """The verified ledger; an empty book where there is none yet, or none that can be trusted, which is then noted."""
    try:
        if home.ledger.path.exists():
            return home.ledger.verify()
        home.ledger.head()  # raises where an anchor, or this home, knows of one that is gone
    except UserError as error:
        notes.append(str(error))
    return Book()


def _spent(book: Book, policy: SitePolicy) -> Iterable[GroupSpent]:
    for cohort in book.cohorts:
        rows = [row for row in book.rows if row.fingerprint == cohort.fingerprint]
        yield GroupSpent(
            patients=cohort.number_of_patients,
            releases=len(rows),
            first_time=rows[0].time,
            last_time=rows[-1].time,
            epsilon=book.spent(cohort, policy.delta_of_a_rule, policy.renyi_order),
        )


def _lines(folder: Path, notes: list[str]) -> list[Mapping[str, Any]]:
    """The journal's lines, as far as each follows from the one before."""
    found: list[Mapping[str, Any]] = []
    try:
        found.extend(read_journal(folder / "journal.jsonl"))
    except UserError as error:
        notes.append(str(error))
    return found


def _asked(lines: Iterable[Mapping[str, Any]], book: Book, home: Home) -> list[Asked]:
    """Each line, and what its answer cost: a row of the ledger that no earlier answer showed."""
    rows, shown, found = {row.hash: row for row in book.rows}, set[str](), []
    for line in lines:
        row = rows.get(str(line.get("ledger_head", "")))
        paid = row is not None and row.hash not in shown and row.run == home.row_name(str(line.get("run", "")))
        shown |= {row.hash} if row else set()
        found.append(_as_asked(line, row.epsilon if row and paid else None))
    return found


def _as_asked(line: Mapping[str, Any], epsilon: float | None) -> Asked:
    texts = {name: str(line.get(name, "")) for name in ("action", "run", "round", "decision", "reason", "by")}
    return Asked(
        time=float(line.get("time", 0.0)),
        bytes_in=int(line.get("bytes_in", 0)),
        bytes_out=int(line.get("bytes_out", 0)),
        epsilon=epsilon,
        **texts,
    )


def _left(line: Mapping[str, Any]) -> int:
    """Bytes that left with a line. One that was held back takes off what the line before counted."""
    return int(line.get("bytes_out", 0)) - int(line.get("bytes_held_back", 0))


def _counts(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in lines:
        decision = str(line.get("decision", ""))
        found[decision] = found.get(decision, 0) + 1
    return found


def _bundles(folder: Path, notes: list[str]) -> tuple[tuple[str, ...], tuple[Waiting, ...]]:
    """Those approved, and those that wait."""
    bundles = Bundles(folder / "bundles")
    try:
        return bundles.approved, tuple(_waiting(bundles))
    except UserError as error:
        notes.append(str(error))
        return (), ()


def _waiting(bundles: Bundles) -> Iterable[Waiting]:
    """The newest first; one may go while we look."""
    for bundle in reversed(bundles.waiting()):
        try:
            facts = (bundles.folder / f"{bundle}.fab").stat()
        except FileNotFoundError:
            continue
        yield Waiting(bundle=bundle, since=facts.st_mtime, size=facts.st_size)
