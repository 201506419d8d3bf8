"""How what was looked at is told: by site check and doctor."""

import sys
from collections.abc import Sequence

from rich import box
from rich.table import Table

from cmrfed.console import console, safe_text
from cmrfed.core.check import Check

_STYLES = {"good": "green", "look": "yellow", "mend": "red"}


def say_checks(found: Sequence[Check]) -> None:
    """A line for each. Ends the process with code 1 where something must be mended."""
    console.print(_table_of(found))
    if mend := [one.what for one in found if one.verdict == "mend"]:
        console.print(f"\nto mend: {', '.join(mend)}", style="red", markup=False)
        sys.exit(1)
    console.print("\nready", style="green")


def _table_of(found: Sequence[Check]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("", "", "found", "to do"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(one.what, f"[{_STYLES[one.verdict]}]{one.verdict}[/]", safe_text(one.found), safe_text(one.to_do))
    return table
