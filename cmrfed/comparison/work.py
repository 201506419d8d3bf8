"""A family's runs: trained and measured, each once; and what came of them, arm by arm."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cmrfed.comparison.plan import ComparedRun
from cmrfed.comparison.speed import Speed
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.schema import ArmScores, Results
from cmrfed.runs import Run, read_results, runs_called
from cmrfed.runs.evaluation import evaluate
from cmrfed.slices import Slices

Federate = Callable[[ComparedRun, Path, "Run | None"], Run]
"""Does a run in the comparison's folder, or goes on with the one that was cut short."""


@dataclass(frozen=True)
class Compared:
    """A family's arm: its scores, what it drew for the held-out patients' masks, and what was spent."""

    family: str
    arm: str
    speed: Speed
    scores: ArmScores
    shown: Slices
    seconds_per_slice: float | None
    epsilon: float | None
    train_s: float | None


@dataclass(frozen=True)
class Work:
    """What is done of each run; it is sent to other processes. folder: the comparison's own."""

    folder: Path
    federate: Federate
    bar: ProgressBar

    def __call__(self, one: ComparedRun) -> Run:
        """The run; measured, unless its arm ended early."""
        run = self._trained(one)
        if not run.early_ends() and not (run.folder / "results.json").exists():
            evaluate(run, one.config.evaluation, self.bar)
        return run

    def _trained(self, one: ComparedRun) -> Run:
        for run in runs_called(one.name, self.folder):
            return run if run.main_arm() in run.arms() else self.federate(one, self.folder, run)
        return self.federate(one, self.folder, None)


def compared(one: ComparedRun, run: Run, speed: Speed) -> list[Compared]:
    """What came of a run that was done and measured; nothing where it ended early."""
    if run.early_ends():
        return []
    results: Results = read_results(run.folder)
    spent = [site.epsilon for site in results.sites.values() if site.epsilon is not None]
    main = run.main_arm()
    return [
        Compared(
            family=one.family,
            arm=arm,
            speed=speed,
            scores=results.arms[arm],
            shown=Slices.load(run.arm_folder(arm) / "synthetic.safetensors"),
            seconds_per_slice=results.timing.sample_s_per_slice if arm == main else None,
            epsilon=max(spent) if spent and arm == main else None,
            train_s=results.timing.train_s if arm == main else None,
        )
        for arm in one.arms
    ]
