"""Families of generators side by side, under one protocol: the same patients, budget, privacy plan and measures.

`plan.py` says which runs there are and how long each may train, `speed.py` measures how fast a family learns and draws,
`work.py` does a family's runs and measures them. All that is done is kept in the comparison's folder, and nothing is
done twice.
"""

from cmrfed.comparison.plan import ARMS, ComparedRun, compared_runs, in_order, open_folder
from cmrfed.comparison.speed import Speed, speed_of
from cmrfed.comparison.work import Compared, Work, compared

__all__ = [
    "ARMS",
    "Compared",
    "ComparedRun",
    "Speed",
    "Work",
    "compared",
    "compared_runs",
    "in_order",
    "open_folder",
    "speed_of",
]
