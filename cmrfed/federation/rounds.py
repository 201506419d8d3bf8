"""What is written down of an arm's rounds, a line of `rounds.jsonl` each, and what they come to in epsilon.

All of it is the server's own knowledge: what it asked for, who answered, and the plan.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import ConfigDict, Field

from cmrfed.config import Stage, UserError, read_stage
from cmrfed.privacy import GaussianEvent, NoPrivacy, Plan, epsilon
from cmrfed.privacy.accounting import CannotBound


@dataclass(frozen=True)
class Traffic:
    """Bytes of the content of a round's messages, over all sites: sent down to them, and up by them."""

    down: int = 0
    up: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.down + other.down, self.up + other.up)


class SiteNote(Stage):
    """Of a site in a round. `reason`: why it gave no update; None where it gave one. `loss` only without privacy."""

    model_config = ConfigDict(extra="ignore")

    reason: str | None = None
    loss: float | None = None


class RoundLine(Stage):
    """A round as it was written down; 0 is what the weights are worth before anybody trains.

    started, finished: Unix times, s. sites: those that were heard, by name, and what else went wrong by its own words.
    applied: False where too few answered, so that the same round is asked for again. validation: held-out loss by
    vendor, of rounds that have one.
    """

    model_config = ConfigDict(extra="ignore")

    round: int = Field(ge=0)
    started: float
    finished: float
    bytes: Traffic = Traffic()
    sites: dict[str, SiteNote] = Field(default_factory=dict)
    applied: bool = True
    validation: dict[str, float] = Field(default_factory=dict)

    @property
    def answered(self) -> tuple[str, ...]:
        return tuple(site for site, note in self.sites.items() if note.reason is None)

    @property
    def reasons(self) -> dict[str, str]:
        """Why others gave no update, by site or by what else is named."""
        return {site: note.reason for site, note in self.sites.items() if note.reason is not None}


def read_rounds(path: Path) -> tuple[tuple[RoundLine, ...], str]:
    """The rounds in a log, as far as it can be read, and what is wrong with the first line that cannot, if one cannot.

    None where there is no log yet. A last line without its end is still being written, or never was.
    """
    found: list[RoundLine] = []
    try:
        raw = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return (), ""
    for number, one in enumerate(raw, start=1):
        where = f"{path}: line {number}"
        try:
            found.append(read_stage(RoundLine, json.loads(one), where))
        except (ValueError, RecursionError):
            return tuple(found), f"{where} is not JSON; what follows is not shown"
        except UserError as error:
            return tuple(found), f"{error}; what follows is not shown"
    return tuple(found), ""


def epsilon_by_site(plan: Plan, local_steps: int, rounds: Iterable[RoundLine]) -> dict[str, float]:
    """Epsilon at the plan's delta, by its accountant, of all that each site answered; nothing without privacy.

    A site that paid for an answer which was lost on its way has spent more, which its own ledger alone knows.
    """
    if isinstance(plan, NoPrivacy):
        return {}
    answers = {(site, one.round) for one in rounds for site in one.answered}
    counts = Counter(site for site, _ in answers)
    return {
        site: _epsilon(plan.event(local_steps * count), plan.delta, plan.accountant)
        for site, count in sorted(counts.items())
    }


@lru_cache
def _epsilon(event: GaussianEvent, delta: float, accountant: str) -> float:
    try:
        return epsilon([event], delta, accountant)
    except CannotBound:
        return math.inf
