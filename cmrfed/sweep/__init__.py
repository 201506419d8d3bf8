"""A privacy frontier: runs over budgets, each done several times with noise anew, and what each run's images are worth.

`plan.py` says which runs there are, `work.py` does one and scores it, and `frontier.py` puts scores together, with
intervals over patients and over noise. All that is done is kept in the sweep's folder, and nothing is done twice.
"""

from cmrfed.sweep.frontier import Frontier, Point, frontier
from cmrfed.sweep.plan import SweptRun, brackets, open_folder, swept_runs
from cmrfed.sweep.work import Federate, Measure, Scores, score_bracket, score_run, train_run

__all__ = [
    "Federate",
    "Frontier",
    "Measure",
    "Point",
    "Scores",
    "SweptRun",
    "brackets",
    "frontier",
    "open_folder",
    "score_bracket",
    "score_run",
    "swept_runs",
    "train_run",
]
