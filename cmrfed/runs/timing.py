"""Where the time of a run's own arm went, from the logs of its federation and its sites."""

from pathlib import Path

from cmrfed.core.json_lines import read_lines
from cmrfed.evaluation.schema import Timing
from cmrfed.runs.run import Run


def timing_of(run: Run) -> Timing:
    """Seconds of the run's own arm: at work at any site, and in the federation around that."""
    arm = run.arm_folder(run.main_arm())
    sessions = _intervals(arm / "sessions.jsonl", None)
    if not sessions:  # an arm that was run by hand, as on many machines
        return Timing(train_s=None, federation_overhead_s=None, federation_wall_s=None)
    wall = sum(end - start for start, end in sessions)
    request = f"{run.record.name}/{run.main_arm()}"
    logs = [run.site_home(site) / "rounds.jsonl" for site in run.sites]
    busy = _union_length([interval for log in logs for interval in _intervals(log, request)])
    return Timing(train_s=busy, federation_overhead_s=wall - busy, federation_wall_s=wall)


def _intervals(path: Path, request: str | None) -> list[tuple[float, float]]:
    return [(line["started"], line["finished"]) for line in read_lines(path) if request in (None, line.get("run"))]


def _union_length(intervals: list[tuple[float, float]]) -> float:
    """Seconds covered by at least one interval: sites that train side by side count once."""
    covered, end = 0.0, float("-inf")
    for start, finish in sorted(intervals):
        covered += max(0.0, finish - max(start, end))
        end = max(end, finish)
    return covered
