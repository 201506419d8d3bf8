"""The runs that a folder holds: what each is and came to, and how one is taken away."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.runs.run import Run, at_work

_GOING = ".being-removed-"
"""What a folder is called while it is taken away, so that half of a run is never read as one."""


@dataclass(frozen=True)
class KeptRun:
    """A run's folder. run: None where its record is another version's, and cannot be read. latest: whether it is what
    the link of that name points to."""

    folder: Path
    run: Run | None
    size_bytes: int
    latest: bool

    @property
    def state(self) -> str:
        """How far it came."""
        if self.run is None:
            return "not readable by this version"
        if self.run.early_ends():
            return "ended early"
        if (self.folder / "report.html").exists():
            return "done"
        return "trained, no report" if self.run.main_arm() in self.run.arms() else "not finished"


def kept_runs(out: Path) -> list[KeptRun]:
    """The newest first; what else lies in the folder is passed over."""
    latest = (out / "latest").resolve()
    folders = [path.parent for path in out.glob("*/run.json") if not path.parent.is_symlink()]
    shown = [folder for folder in folders if not folder.name.startswith(_GOING)]
    return [_kept(folder, folder.resolve() == latest) for folder in sorted(shown, reverse=True)]


def _kept(folder: Path, latest: bool) -> KeptRun:
    try:
        run = Run.open(folder)
    except UserError:
        run = None
    sizes = (path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return KeptRun(folder, run, sum(sizes), latest)


def remove_runs(folders: Sequence[Path]) -> None:
    """Take runs away, with everything in their folders; all of them, or where one may not go, none.

    What their patients spent stays in the hospital's ledger, which lies outside. Raises UserError where one is no run,
    where a process is at work on it, and where a ledger of real patients lies in it after all.
    """
    runs = [Run.open(folder) for folder in folders]
    for run in runs:
        _refuse_ledger(run)
    with ExitStack() as locks:
        for run in runs:
            locks.enter_context(at_work(run.folder))
        going = [_hidden(run.folder) for run in runs]
    for folder in going:
        shutil.rmtree(folder)


def _refuse_ledger(run: Run) -> None:
    ledgers = sorted(run.folder.rglob("ledger.sqlite"))
    if ledgers and set(run.config.data.sources) != {"phantom"}:
        raise UserError(
            f"{ledgers[0]}: is the ledger of real patients, and what they spent must not be forgotten; move it and "
            "ledger.anchor out of the run, to where site.yaml says"
        )


def _hidden(folder: Path) -> Path:
    """The folder under another name, and no link to it: nothing half taken away is read."""
    link = folder.parent / "latest"
    if link.is_symlink() and link.readlink().name == folder.name:
        link.unlink()
    return folder.rename(folder.with_name(_GOING + folder.name))
