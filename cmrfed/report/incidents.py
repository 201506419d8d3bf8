"""Sites that gave no update, and arms that ended early."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby

from cmrfed.report.material import Material

_SHORT = "too few sites replied, and it was not applied; what was answered is kept for when it is asked for again"


@dataclass(frozen=True)
class Incident:
    """Something that kept an arm from its plan; `site` is empty when it was the whole arm, and `rounds` too when it was
    the arm's end."""

    arm: str
    site: str
    rounds: str
    reason: str


def incidents(material: Material) -> list[Incident]:
    """Everything that went otherwise than planned, each reason once with its rounds."""
    missed: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for arm, lines in material.rounds.items():
        for line in lines:
            if not line.get("applied", True):
                missed[arm, "", _SHORT].append(line["round"])
            for site, notes in line["sites"].items():
                if notes["reason"]:
                    missed[arm, site, notes["reason"]].append(line["round"])
    found = [Incident(material.arm_title(a), site, _ranges(rounds), why) for (a, site, why), rounds in missed.items()]
    stops = [Incident(material.arm_title(arm), "", "", reason) for arm, reason in material.stopped.items()]
    return stops + found


def _ranges(rounds: list[int]) -> str:
    """1, 2, 2, 3, 7 as "1–3, 7": a round that was short of replies may have been asked for more than once."""
    numbered = enumerate(sorted(set(rounds)))
    runs = [[n for _, n in group] for _, group in groupby(numbered, lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
