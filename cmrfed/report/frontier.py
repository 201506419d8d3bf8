"""A sweep's frontier as a page: one figure, one table."""

import json
from dataclasses import asdict
from pathlib import Path

from cmrfed import formats
from cmrfed.core import atomic
from cmrfed.report.html import write_page
from cmrfed.report.plots import frontier_plot
from cmrfed.report.tables import KID_SCALE, Figure, Row, Table, estimated, figure
from cmrfed.sweep import Frontier, Point
from cmrfed.sweep.plan import NO_PATIENT, PHANTOM_IMAGES, REAL, START, WITHOUT_PRIVACY

TITLES = {
    REAL: "real images",
    PHANTOM_IMAGES: "phantom images: ε 0",
    NO_PATIENT: "the foundation's images: ε 0",
    START: "the start's images: ε 0",
}


_WHOSE = {
    "hearts": "simulated hearts, which are nobody's",
    "phantom": "the phantom's own scans, which are nobody's",
    "patients": "the training patients",
}


def write_frontier(found: Frontier, masks: str, folder: Path) -> Path:
    """frontier.json and frontier.html in the sweep's folder; returns the page. `masks`: what was drawn for, as in
    `SweepConfig.masks`."""
    # Estimate is a model, the rest are dataclasses
    plain = json.dumps(asdict(found), indent=2, default=lambda estimate: estimate.model_dump())
    atomic.write_text(folder / "frontier.json", plain)
    vendors = list(found.points[0].by_vendor)
    columns = ["ε spent", "runs", "mean Dice", "of real", "above ε 0", "spread over noise", "KID × 1000", *vendors]
    rows = [_row(point, vendors) for point in found.points]
    return write_page(
        folder / "frontier.html",
        "frontier.html.jinja",
        patients=found.patients,
        masks=_WHOSE[masks],
        table=Table(columns, rows),
        verdicts=[_verdict(point) for point in found.points if point.epsilon is not None],
        plot=frontier_plot(found),
    )


def _row(point: Point, vendors: list[str]) -> Row:
    start = point.arm in (REAL, START)
    cells = [
        Figure(formats.epsilon(point.spent)) if point.spent is not None else Figure(formats.MISSING),
        Figure(str(point.runs)),
        estimated(point.dice, 3),
        Figure(formats.number(point.of_real, 3)),
        Figure(formats.MISSING) if start else estimated(point.over_start, 4),
        Figure(formats.number(point.spread, 4)),
        figure(point.kid, None, 1, KID_SCALE),
        *(estimated(point.by_vendor[vendor], 3) for vendor in vendors),
    ]
    return Row(TITLES.get(point.arm, point.arm), cells, reference=point.arm in TITLES or point.arm == WITHOUT_PRIVACY)


def _verdict(point: Point) -> str:
    low, high = point.over_start.ci95 or [float("nan")] * 2
    found = f"{point.arm}: {point.over_start.value:+.4f} [{low:+.4f}, {high:+.4f}] Dice over its start"
    if point.better_than_start:
        return f"{found}: the patients' data helped."
    worse = point.over_start.ci95 is not None and high < 0
    return f"{found}: " + ("training harmed." if worse else "nothing that chance would not give.")
