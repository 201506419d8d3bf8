"""Commands about a site's privacy ledger, as its data-protection officer needs them: ledger show, verify and export."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from cmrfed import __version__
from cmrfed.cli.stages import LedgerExport, LedgerShow, LedgerVerify
from cmrfed.console import console, safe_text
from cmrfed.core import atomic
from cmrfed.outputs import output_file, writing

if TYPE_CHECKING:  # the accountants need torch, for which help does not wait
    from cmrfed.privacy import Book, GaussianEvent, LedgerRow

_NOISE = {"local": "this site's own", "distributed": "distributed over all sites"}
_ABOUT = (
    "Every release that this site has paid for, in order. epsilon is an upper bound, at delta and for a patient taken "
    "whole, of what the worst-off patient of the row's data set had spent after that row, over all runs, data sets and "
    "names under which the ledger knows that patient. fingerprint stands for a data set's list of patients, which is "
    "not in this export. Times are UTC."
)
_CHECK = (
    "hash is the SHA-256, in hex, of the JSON list [schema, sequence, time, fingerprint, run, round, request, event, "
    "delta, epsilon, software, previous]: schema and sequence as numbers, all else as the texts given here, a comma "
    "and a space between elements, characters beyond ASCII escaped as \\uXXXX. previous is the hash of the row before, "
    "and 64 zeros in the first row. head is the last row's hash."
)


_NOT_KNOWN = (
    "Whether ledger, anchor and every home's ledger.head were rewritten or replaced together cannot be known from "
    "these files: give a head that was written down elsewhere, as head=... (servers get one with every answer)."
)


def show(config: LedgerShow) -> None:
    book = _verified(config.home)
    shown = book.rows[-config.rows :]
    console.print(_table_of_rows(shown))
    if len(shown) < len(book.rows):
        console.print(f"the last {len(shown)} of {len(book.rows)} rows; rows={len(book.rows)} shows all")
    console.print()
    console.print(_table_of_cohorts(book))
    console.print(f"\nhead: {book.head}, row {len(book.rows)}", soft_wrap=True)
    console.print("Keep it elsewhere: with it, `cmrfed ledger verify head=...` finds a ledger that was rewritten.")


def verify(config: LedgerVerify) -> None:
    book = _verified(config.home, config.head)
    known = next((f"; the head you kept is row {row.sequence}" for row in book.rows if row.hash == config.head), "")
    counts = f"{len(book.rows)} rows, {len(book.cohorts)} data sets, {book.number_of_patients} patients"
    console.print(f"the ledger is whole: {counts}{known}; head {book.head}", soft_wrap=True)
    if not known:
        console.print(_NOT_KNOWN, soft_wrap=True)


def export(config: LedgerExport) -> None:
    out = output_file(config.out, tuple(_FORMATS))
    book = _verified(config.home)
    with writing(out):
        atomic.write_text(out, _FORMATS[out.suffix.lower()](book))
    console.print(f"{len(book.rows)} rows, head {book.head}, in {out}", soft_wrap=True)


def _verified(home: str, head: str | None = None) -> "Book":
    from cmrfed.privacy import Ledger
    from cmrfed.site import Home

    folder = Path(home).expanduser().resolve()
    is_home = (folder / "site.yaml").exists()  # else the folder that the ledger itself lies in
    return (Home(folder).ledger if is_home else Ledger(folder / "ledger.sqlite")).verify(head)


def _table_of_rows(rows: "tuple[LedgerRow, ...]") -> Table:
    """Two lines a row, which fit a terminal of 100 columns."""
    table = _table("Releases paid for")
    table.add_column("row", justify="right")
    table.add_column("time, UTC", no_wrap=True)
    table.add_column("run", overflow="fold")
    table.add_column("mechanism")
    table.add_column("epsilon\nat delta", justify="right", no_wrap=True)
    table.add_column("cmrfed")
    for row in rows:
        table.add_row(
            str(row.sequence),
            row.time[:19].replace("T", "\n"),
            safe_text(row.run).append(f"\nround {row.round}"),
            _mechanism(row.event).replace(", noise", "\nnoise"),
            f"{row.epsilon:.3f}\n{row.delta:g}",
            safe_text(row.software),
        )
    return table


def _table_of_cohorts(book: "Book") -> Table:
    table = _table("Spent so far, by data set")
    table.add_column("data set")
    for column in ("patients", "releases", "first row", "last row", "epsilon of the worst-off patient"):
        table.add_column(column, justify="right")
    for cohort in _cohorts(book):
        table.add_row(
            cohort["fingerprint"][:16],
            *(str(cohort[key]) for key in ("patients", "rows", "first_row", "last_row")),
            f"{cohort['epsilon']:.3f} at delta {cohort['delta']:g}",
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)


def _cohorts(book: "Book") -> list[dict[str, Any]]:
    """By data set: how many patients, which rows, and what its worst-off patient has spent at the last row's delta."""
    found = []
    for cohort in book.cohorts:
        rows = [row for row in book.rows if row.fingerprint == cohort.fingerprint]
        found.append(
            {
                "fingerprint": cohort.fingerprint,
                "patients": cohort.number_of_patients,
                "rows": len(rows),
                "first_row": rows[0].sequence,
                "last_row": rows[-1].sequence,
                "epsilon": book.spent(cohort, rows[-1].delta),
                "delta": rows[-1].delta,
            }
        )
    return found


def _mechanism(event: "GaussianEvent") -> str:
    return (
        f"{event.steps} x Gaussian, sigma {event.noise_multiplier:.3g}, q {event.sample_rate:.3g}, "
        f"noise: {_NOISE[event.noise]}"
    )


def _json(book: "Book") -> str:
    """All of the ledger but the patients' keys, and how to check it without this program."""
    record = {
        "about": _ABOUT,
        "how_to_check_the_hashes": _CHECK,
        "schema": _schema(),
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "exported_by": f"cmrfed {__version__}",
        "head": book.head,
        "data_sets": _cohorts(book),
        "rows": [
            row | {"mechanism": _mechanism(entry.event)} for row, entry in zip(book.stored, book.rows, strict=True)
        ],
    }
    return json.dumps(record, indent=2) + "\n"


def _csv(book: "Book") -> str:
    """The rows, one a line, with each data set's number of patients and the mechanism in words."""
    patients = {cohort.fingerprint: cohort.number_of_patients for cohort in book.cohorts}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*book.stored[0], "patients", "mechanism"])
    for row, entry in zip(book.stored, book.rows, strict=True):
        writer.writerow([*map(_no_formula, row.values()), patients[entry.fingerprint], _mechanism(entry.event)])
    return text.getvalue()


def _no_formula(value: str | int) -> str | int:
    """A server chose the run's name, and spreadsheets calculate what begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


_FORMATS: dict[str, Callable[["Book"], str]] = {".json": _json, ".csv": _csv}


def _schema() -> int:
    from cmrfed.privacy.chain import SCHEMA

    return SCHEMA
