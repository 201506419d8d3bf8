"""Several runs, so many at once: on this machine by joblib, or as jobs of a cluster by submitit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import joblib

from cmrfed.config import LaunchConfig, RunConfig, Stage, UserError, read_stage, read_stage_json
from cmrfed.core import atomic
from cmrfed.core.progress import Progress
from cmrfed.outputs import private_folder


def planned_folder(folder: Path, record: Stage, kind: str, readme: str) -> Path:
    """A new folder of runs that were planned from that record, KIND.json, or the one of this very record, to go on
    with. Raises UserError where the folder holds another one."""
    path = folder / f"{kind}.json"
    if path.exists():
        if read_stage_json(type(record), path) != record:
            raise UserError(
                f"out: {folder} holds a {kind} of another configuration; choose another folder, or that one's"
            )
        return folder
    private_folder(folder)
    atomic.write_text(folder / "README.md", readme)
    atomic.write_text(path, record.model_dump_json(indent=2))
    return folder


def with_values(config: RunConfig, values: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """The run with these values of its stages over its own."""
    own = config.model_dump()
    return read_stage(RunConfig, own | {stage: own[stage] | set_ for stage, set_ in values.items()})


class PlannedRun(Stage):
    """A run that is to be done, and what it is called."""

    name: str


Work = Callable[[Any], object]
"""What is done of each run. It is sent to other processes: a function of a module, or a `partial` of one."""


def launch(work: Work, runs: Sequence[PlannedRun], how: LaunchConfig, folder: Path, progress: Progress) -> None:
    """Do all, `how.jobs` at once; beyond one at once, what each says goes to logs/. Raises what one of them raises;
    what was done before is kept."""
    if how.launcher == "submitit":
        _submitted(work, runs, how, folder, progress)
        return
    quiet = partial(_logged, work, private_folder(folder / "logs")) if how.jobs > 1 else work
    done = joblib.Parallel(n_jobs=how.jobs, return_as="generator_unordered")(joblib.delayed(quiet)(one) for one in runs)
    for count, _ in enumerate(done, start=1):
        progress(count, len(runs))


def _submitted(work: Work, runs: Sequence[PlannedRun], how: LaunchConfig, folder: Path, progress: Progress) -> None:
    """Where there is no SLURM, submitit runs the same jobs in processes of this machine."""
    try:
        import submitit
    except ModuleNotFoundError:
        raise UserError("launcher: submitit is not installed; pip install 'cmrfed[slurm]', or choose joblib") from None
    logs = private_folder(folder / "logs")
    executor = submitit.AutoExecutor(folder=str(logs / "submitit"))
    executor.update_parameters(name="cmrfed", timeout_min=24 * 60, slurm_array_parallelism=how.jobs)
    jobs = executor.map_array(partial(_logged, work, logs), runs)
    for count, job in enumerate(jobs, start=1):
        job.result()
        progress(count, len(runs))


def _logged(work: Work, logs: Path, one: PlannedRun) -> None:
    with _written_to(logs / f"{one.name}.log"):
        work(one)


@contextmanager
def _written_to(path: Path) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        yield
