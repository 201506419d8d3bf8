"""Runs that were done: runs list, show and rm."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.prompt import Confirm
from rich.table import Table

from cmrfed import formats
from cmrfed.cli.stages import RunsList, RunsRemove, RunsShow
from cmrfed.config import UserError
from cmrfed.console import console, safe_text, say

if TYPE_CHECKING:
    from cmrfed.runs import Run
    from cmrfed.runs.kept import KeptRun

_COLUMNS = ("run", "patients", "promise", "state", "size")


def list_runs(config: RunsList) -> None:
    from cmrfed.runs import kept_runs

    out = Path(config.out).expanduser().resolve()
    found = kept_runs(out)
    if not found:
        say(f"{out} holds no runs yet; cmrfed simulate makes one")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(*map(safe_text, _row(one)))
    console.print(table)
    console.print(f"\n{out}; * is what runs/latest stands for", markup=False, soft_wrap=True)


def _row(kept: "KeptRun") -> tuple[str, ...]:
    name = f"{kept.folder.name}{' *' if kept.latest else ''}"
    size = f"{kept.size_bytes / 2**20:.0f} MiB"
    if kept.run is None:
        return name, formats.MISSING, formats.MISSING, kept.state, size
    record = kept.run.record
    return name, f"{sum(record.sites.values())} + {record.held_out_patients}", _promise(kept.run), kept.state, size


def _promise(run: "Run") -> str:
    plan = run.record.plan
    return "none" if plan.noise == "none" else f"epsilon {formats.epsilon(plan.target_epsilon)}, {plan.noise}"


def show_run(config: RunsShow) -> None:
    from cmrfed.report.material import read_material
    from cmrfed.report.verdict import remarks, verdicts
    from cmrfed.runs import Run

    run = Run.open(Path(config.run))
    record = run.record
    sites = ", ".join(f"{site} {count}" for site, count in sorted(record.sites.items()))
    say(f"{run.folder.name}, of {record.created[:16].replace('T', ' ')}, cmrfed {record.cmrfed}")
    say(f"patients: {sites}; {record.held_out_patients} held out")
    say(f"generator: {run.config.generator.family}, from {run.config.generator.init}; promise: {_promise(run)}")
    for arm, why in run.early_ends().items():
        say(f"{arm}: {why}", style="yellow")
    if not (run.folder / "results.json").exists():
        say(f"nothing was measured of it yet: cmrfed evaluate run={run.folder}")
        return
    material = read_material(run, show_real_images=False)
    for remark in remarks(material):
        say(remark, style="yellow")
    for verdict in verdicts(material):
        say(f"\n{verdict.question} {verdict.value} ({verdict.beside})", style="bold")
        say(" ".join(verdict.sentences))
    say(f"\nall of it, with pictures: {run.folder / 'report.html'}")


def remove(config: RunsRemove) -> None:
    from cmrfed.runs import Run, remove_runs

    folders = [Run.open(Path(one)).folder for one in config.run]
    if not config.yes:
        if not console.is_terminal:
            raise UserError("yes: nobody can be asked here; with yes=true these runs are removed without a question")
        if not Confirm.ask(
            f"Remove {', '.join(one.name for one in folders)}, with all that is in it?", console=console
        ):
            sys.exit(1)
    remove_runs(folders)
    for folder in folders:
        say(f"removed {folder}")
