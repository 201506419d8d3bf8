"""Federate every arm of a run: with privacy, without, and the untrained start that both are compared with."""

import json
import time
from typing import Any

from rich.text import Text

from cmrfed.apps.server.progress import weight_of
from cmrfed.config import RunConfig, UserError
from cmrfed.console import console, progress_bar, safe_text
from cmrfed.core import atomic
from cmrfed.core.json_lines import append_line, read_lines
from cmrfed.core.progress import Progress
from cmrfed.federation import Arm, GlobalState
from cmrfed.privacy import NoPrivacy, Plan
from cmrfed.runs import Run
from cmrfed.site import Home
from cmrfed.updates import Weights

from .flower import run_on_flower
from .inprocess import run_in_process


def federate(run: Run, initial: Weights) -> None:
    """Bring every arm of a run to its end. One that has had all its rounds is left alone; one that stopped early goes
    on, if the reason is gone.

    Raises UserError, before anything is asked of any site, when a site's home is gone.
    """
    _refuse_missing_homes(run)
    if run.config.generator.init is not None:
        before = run.open_arm("epsilon_0", run.config, NoPrivacy(), initial)
        before.finish(GlobalState(0, initial, initial))
    stopped = run.early_ends()
    for name, config, plan in _arms(run):
        arm = run.open_arm(name, config, plan, initial)
        if name in stopped or not (arm.folder / "model.safetensors").exists():
            _run_arm(run, arm)
    main = run.arm_folder(run.main_arm()) / "model.safetensors"
    atomic.write_bytes(run.folder / "model.safetensors", main.read_bytes())


def _refuse_missing_homes(run: Run) -> None:
    """A home that is gone would be a site that refuses each round, and rounds would be paid for without it."""
    missing = [home for home in map(run.site_home, run.sites) if not (home / "site.yaml").is_file()]
    if missing:
        raise UserError(
            f"{missing[0]}: is not a site's home any more; put the folder back with all that was in it, or begin "
            "another run"
        )


def _arms(run: Run) -> list[tuple[str, RunConfig, Plan]]:
    """Name, configuration and plan of each arm that is trained."""
    config = run.config
    private = run.record.plan.private
    arms: list[tuple[str, RunConfig, Plan]] = []
    if private:
        arms.append(("private", config, run.record.plan))
    if not private or config.federation.arms == "all":
        arms.append(("non_private", config, NoPrivacy()))
    return arms


def _run_arm(run: Run, arm: Arm) -> None:
    federation = arm.config.federation
    with progress_bar(f"training arm {arm.name} (steps)") as report:
        watch = _Watch(run, arm, report)
        started = time.time()
        if federation.engine == "inprocess":
            run_in_process(arm.folder, len(arm.sites), watch.tick)
        else:
            run_on_flower(arm.folder, len(arm.sites), federation, arm.config.training, watch.tick)
        watch.tick()
    append_line(arm.folder / "sessions.jsonl", {"started": started, "finished": time.time()})


class _Watch:
    """Follows an arm by the files that sites and server leave: steps for the bar, a line for each round that ends."""

    def __init__(self, run: Run, arm: Arm, report: Progress) -> None:
        self.run, self.arm, self.report = run, arm, report
        self.steps_a_round = arm.config.training.local_steps * len(arm.sites)
        self.rounds_shown = len(read_lines(arm.folder / "rounds.jsonl"))

    def tick(self) -> None:
        """Catch up with the files."""
        rounds = read_lines(self.arm.folder / "rounds.jsonl")
        for line in rounds[self.rounds_shown :]:
            console.print(self._round(line), soft_wrap=True)
        self.rounds_shown = len(rounds)
        last = max((line["round"] for line in rounds if line.get("applied", True)), default=0)
        done = last * self.steps_a_round + sum(self._steps_in_round(site, last + 1) for site in self.arm.sites)
        self.report(done, self.arm.config.federation.rounds * self.steps_a_round)

    def _steps_in_round(self, site: str, round: int) -> int:
        path = self.run.site_home(site) / "progress.json"
        if not path.exists():
            return 0
        now = json.loads(path.read_text(encoding="utf-8"))
        return int(now["step"]) if (now["run"], now["round"]) == (self.arm.run_at_sites, round) else 0

    def _round(self, line: dict[str, Any]) -> Text:
        validation = line["validation"]
        held_out = f"  held-out loss {sum(validation.values()) / len(validation):.4f}" if validation else ""
        short = "" if line["applied"] else "  not applied, too few replies"
        text = Text(f"  round {line['round']}/{self.arm.config.federation.rounds}{held_out}{weight_of(line)}{short}")
        for site, notes in line["sites"].items():
            text.append("  ").append_text(self._site(site, notes, line["round"]))
        return text

    def _site(self, site: str, notes: dict[str, Any], round: int) -> Text:
        if notes["reason"]:
            told = safe_text(f"{site}: {notes['reason']}{self._own_reason(site)}")
            told.stylize("yellow")
            return told
        if not self.arm.plan.private:
            return Text(f"{site} loss {notes['loss']:.4f}")
        spent = dict(Home(self.run.site_home(site)).spent_in(self.arm.run_at_sites))
        return Text(f"{site} epsilon {spent[round]:.2f}" if round in spent else site)

    def _own_reason(self, site: str) -> str:
        """What the site itself noted last, which no server is told: here both are the user's own."""
        noted = read_lines(self.run.site_home(site) / "refusals.jsonl")
        return f" ({noted[-1]['reason']})" if noted else ""
