"""A run's folder: what it was made from, its sites' homes, its arms and what they came to."""

from cmrfed.runs.draft import Draft, calibrated_plan, prepared_slices
from cmrfed.runs.kept import kept_runs, remove_runs
from cmrfed.runs.results import read_results
from cmrfed.runs.run import (
    Run,
    RunRecord,
    at_work,
    describe_device,
    interrupted_run,
    new_run_folder,
    point_latest,
    prepared_folder,
    runs_called,
    software_versions,
)

__all__ = [
    "Draft",
    "Run",
    "RunRecord",
    "at_work",
    "calibrated_plan",
    "describe_device",
    "interrupted_run",
    "kept_runs",
    "new_run_folder",
    "point_latest",
    "prepared_folder",
    "prepared_slices",
    "read_results",
    "remove_runs",
    "runs_called",
    "software_versions",
]
