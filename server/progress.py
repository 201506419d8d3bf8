"""How far an arm has come, by the lines that its server leaves."""

from typing import Any

from rich.filesize import decimal
from rich.text import Text

from cmrfed.console import console, safe_text
from cmrfed.core.json_lines import read_lines
from cmrfed.core.progress import Progress
from cmrfed.federation import Arm
from cmrfed.privacy import NoPrivacy, epsilon


class RoundLines:
    """Shows each round once, from the first that was not there when it was made."""

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self._shown = len(self._rounds())

    def show(self, report: Progress) -> None:
        """Catch up with the arm's file."""
        rounds = self._rounds()
        for line in rounds[self._shown :]:
            console.print(self._told(line), soft_wrap=True)
        self._shown = len(rounds)
        done = max((line["round"] for line in rounds if line.get("applied", True)), default=0)
        report(done, self.arm.config.federation.rounds)

    def _rounds(self) -> list[dict[str, Any]]:
        return read_lines(self.arm.folder / "rounds.jsonl")

    def _told(self, line: dict[str, Any]) -> Text:
        text = Text(f"  round {line['round']}/{self.arm.config.federation.rounds}{weight_of(line)}")
        if self.arm.plan.private and line["round"]:
            text.append(f"  epsilon {self._epsilon(line['round']):.2f}")
        if not line.get("applied", True):
            text.append("  not applied, too few replies")
        for site, notes in line["sites"].items():
            text.append("  ").append_text(_site(site, notes))
        return text

    def _epsilon(self, rounds: int) -> float:
        """What a patient has spent at most in this run, by the plan; a site that missed rounds has spent less."""
        plan = self.arm.plan
        assert not isinstance(plan, NoPrivacy)
        event = plan.event(self.arm.config.training.local_steps)
        return epsilon([event] * rounds, plan.delta, plan.accountant)


def _site(site: str, notes: dict[str, Any]) -> Text:
    if not notes["reason"]:
        return Text(site)
    told = safe_text(f"{site}: {notes['reason']}")
    told.stylize("yellow")
    return told


def weight_of(line: dict[str, Any]) -> str:
    """What a round's messages weigh, where there were any."""
    sent = line["bytes"]
    return f"  {decimal(sent['down'])} down, {decimal(sent['up'])} up" if sent["down"] else ""
