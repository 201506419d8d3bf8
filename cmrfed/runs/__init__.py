"""A run's folder: what it was made from, its sites' homes, its arms and what they came to."""

from cmrfed.runs.run import (
    Run,
    RunRecord,
    describe_device,
    new_run_folder,
    point_latest,
    prepared_folder,
    software_versions,
)

__all__ = [
    "Run",
    "RunRecord",
    "describe_device",
    "new_run_folder",
    "point_latest",
    "prepared_folder",
    "software_versions",
]
