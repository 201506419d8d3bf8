"""Something that was looked at before work begins: what was found, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "look", "mend"]
"""All is well; worth knowing; must be mended first."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `to_do` is empty where it is good."""

    what: str
    verdict: Verdict
    found: str
    to_do: str = ""
