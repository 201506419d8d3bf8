"""Federate every arm of a run: with privacy, without, and the untrained start that both are compared with."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cmrfed.config import RunConfig
from cmrfed.console import console
from cmrfed.federation import Arm, GlobalState
from cmrfed.privacy import PrivacyPlan
from cmrfed.runs import Run
from cmrfed.site import Home
from cmrfed.updates import Weights
from simulations.flower import run_on_flower
from simulations.inprocess import run_in_process


def federate(run: Run, initial: Weights) -> None:
    """Bring every arm of a run to its end; arms that already have a model are left alone."""
    if run.config.generator.init is not None:
        before = run.open_arm("epsilon_0", run.config, None, initial)
        before.finish(GlobalState(0, initial, initial))
    for name, config, plan in _arms(run):
        arm = run.open_arm(name, config, plan, initial)
        if not (arm.folder / "model.safetensors").exists():
            _run_arm(run, arm)
    main = run.arm_folder(run.main_arm()) / "model.safetensors"
    (run.folder / "model.safetensors").write_bytes(main.read_bytes())


def _arms(run: Run) -> list[tuple[str, RunConfig, PrivacyPlan | None]]:
    """Name, configuration and plan of each arm that is trained."""
    config, arms = run.config, []
    if run.record.plan:
        arms.append(("private", config, run.record.plan))
    if run.record.plan is None or config.federation.arms == "all":
        arms.append(("non_private", config, None))
    return arms


def _run_arm(run: Run, arm: Arm) -> None:
    federation = arm.config.federation
    steps = federation.rounds * arm.config.training.local_steps * len(arm.sites)
    columns = (
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(TextColumn("  {task.description:<34}"), *columns, console=console) as progress:
        task = progress.add_task(f"training arm {arm.name} (steps)", total=steps)
        watch = _Watch(run, arm, lambda done: progress.update(task, completed=done))
        started = time.time()
        if federation.engine == "inprocess":
            run_in_process(arm.folder, len(arm.sites), watch.tick)
        else:
            run_on_flower(arm.folder, len(arm.sites), federation, arm.config.training, watch.tick)
        watch.tick()
    with (arm.folder / "sessions.jsonl").open("a") as log:
        log.write(json.dumps({"started": started, "finished": time.time()}) + "\n")


class _Watch:
    """Follows an arm by the files that sites and server leave: steps for the bar, a line for each round that ends."""

    def __init__(self, run: Run, arm: Arm, show_steps: Callable[[int], None]) -> None:
        self.run, self.arm, self.show_steps = run, arm, show_steps
        self.rounds_shown = len(_lines(arm.folder / "rounds.jsonl"))

    def tick(self) -> None:
        """Catch up with the files."""
        rounds = _lines(self.arm.folder / "rounds.jsonl")
        for line in rounds[self.rounds_shown :]:
            self._print_round(line)
        self.rounds_shown = len(rounds)
        local_steps = self.arm.config.training.local_steps
        last = rounds[-1]["round"] if rounds else 0
        steps = last * local_steps * len(self.arm.sites)
        self.show_steps(steps + sum(self._steps_in_round(site, last + 1) for site in self.arm.sites))

    def _steps_in_round(self, site: str, round: int) -> int:
        path = self.run.site_home(site) / "progress.json"
        if not path.exists():
            return 0
        now = json.loads(path.read_text())
        return int(now["step"]) if (now["run"], now["round"]) == (self.arm.run_at_sites, round) else 0

    def _print_round(self, line: dict) -> None:  # type: ignore[type-arg]
        parts = [self._site(site, line["round"], notes) for site, notes in line["sites"].items()]
        validation = line["validation"]
        held_out = f"held-out loss {sum(validation.values()) / len(validation):.4f}  " if validation else ""
        rounds = self.arm.config.federation.rounds
        console.print(f"  round {line['round']}/{rounds}  {held_out}{'  '.join(parts)}", soft_wrap=True)

    def _site(self, site: str, round: int, notes: dict) -> str:  # type: ignore[type-arg]
        if notes["reason"]:
            return f"[yellow]{site}: {notes['reason']}[/yellow]"
        if self.arm.plan is None:
            return f"{site} loss {notes['loss']:.4f}"
        spent = dict(Home(self.run.site_home(site)).spent_in(self.arm.run_at_sites))
        return f"{site} epsilon {spent[round]:.2f}" if round in spent else site


def _lines(path: Path) -> list[dict]:  # type: ignore[type-arg]
    """Whole lines of a JSON-lines file that somebody may be writing to."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
