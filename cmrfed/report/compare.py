"""Several runs side by side, in one HTML file: what each was, what it scored, and what privacy cost in usefulness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.report import formats
from cmrfed.report.card import largest_epsilon
from cmrfed.report.html import write_page
from cmrfed.report.material import Material, Results, read_material, why_void
from cmrfed.report.plots import Plot, utility_by_epsilon
from cmrfed.report.tables import REFERENCES, Figure, Row, Table
from cmrfed.runs import Run


@dataclass(frozen=True)
class ComparedRun:
    """One run's own arm."""

    material: Material

    @property
    def name(self) -> str:
        return self.material.run.record.name

    @property
    def scores(self) -> Results:
        return self.material.scores.get(self.material.main_arm, {})


_AUTHOR = "cmrfed report compare"
"""What a page of ours says in its head."""


def is_comparison(path: Path) -> bool:
    """Whether the file is a page that `write_comparison` wrote."""
    try:
        with path.open("rb") as file:
            return f'<meta name="generator" content="{_AUTHOR}">'.encode() in file.read(1000)
    except OSError:
        return False


def write_comparison(runs: Sequence[Run], out: Path) -> Path:
    """Write one page about the runs' own arms and return its path; it appears whole or not at all.

    Raises UserError when there are fewer than two, or one was not evaluated.
    """
    if len(runs) < 2:
        raise UserError("run: give two or more runs with commas between them: run=runs/A,runs/B")
    columns = [ComparedRun(read_material(run, show_real_images=False)) for run in runs]
    tables = {"What they are": _setup(columns), **{title: rows for title, rows in _scores(columns) if rows}}
    return write_page(
        out,
        "compare.html.jinja",
        author=_AUTHOR,
        names=[column.name for column in columns],
        tables={title: Table([column.name for column in columns], rows) for title, rows in tables.items()},
        differences=_differences(columns),
        plots=[plot for plot in (_privacy_utility(columns),) if plot],
    )


def _setup(columns: Sequence[ComparedRun]) -> list[Row]:
    """What a reader must know before reading a score."""
    rows = {
        "Data": lambda run: ", ".join(run.config.data.sources),
        "Arm": lambda run: run.main_arm().replace("_", " "),
        "Sites": lambda run: str(len(run.sites)),
        "Generator": lambda run: "made elsewhere" if run.record.images else run.config.generator.family,
        "Trained weights": lambda run: formats.MISSING if run.record.images else run.config.generator.trainable,
        "Rounds": lambda run: formats.MISSING if run.record.images else str(run.config.federation.rounds),
        "Noise by": lambda run: _NOISE[run.config.privacy.mode] if not run.record.images else formats.MISSING,
    }
    found = [Row(title, [Figure(tell(column.material.run)) for column in columns]) for title, tell in rows.items()]
    return [*found, Row("ε spent, at most", [_epsilon(column.material) for column in columns])]


_NOISE = {"none": "nobody", "local": "each site", "distributed": "the sites together"}


def _epsilon(material: Material) -> Figure:
    plan = material.run.record.plan
    if plan is None:
        return Figure("no guarantee")
    seeded = "SEEDED: no guarantee" if plan.seed is not None else f"δ = {plan.delta:g}"
    return Figure(formats.epsilon(largest_epsilon(material)), seeded)


def _scores(columns: Sequence[ComparedRun]) -> list[tuple[str, list[Row]]]:
    return [
        ("Usefulness: Dice of a segmenter trained on ...", _utility(columns)),
        ("Closeness to real images", _fidelity(columns)),
        ("Leakage: AUC of each attack", _leakage(columns)),
        ("Composite", _composite(columns)),
    ]


def _utility(columns: Sequence[ComparedRun]) -> list[Row]:
    names = {**REFERENCES, "synthetic": "synthetic images", "mixed": "real + synthetic images"}
    return _rows(
        {
            title: [_interval((column.scores.get("utility") or {}).get(name), "dice") for column in columns]
            for name, title in names.items()
        },
        references=tuple(REFERENCES.values()),
    )


def _interval(scores: Results | None, metric: str) -> Figure:
    if not scores:
        return Figure(formats.MISSING)
    return Figure(formats.number(scores[metric]["mean"]), formats.interval(scores[f"{metric}_ci95"]["mean"]))


def _fidelity(columns: Sequence[ComparedRun]) -> list[Row]:
    scales = {"fid": ("FID", 1.0, 0), "kid": ("KID × 1000", 1000.0, 0)}
    rows = {}
    for metric, (title, scale, digits) in scales.items():
        for suffix, of in (("_real", "other real patients (the floor)"), ("", "synthetic images")):
            rows[f"{title}, {of}"] = [_distance(column, f"{metric}{suffix}", scale, digits) for column in columns]
    return _rows(rows, references=tuple(row for row in rows if "floor" in row))


def _distance(column: ComparedRun, key: str, scale: float, digits: int) -> Figure:
    fidelity = column.scores.get("fidelity")
    if not fidelity:
        return Figure(formats.MISSING)
    limits = [scale * limit for limit in fidelity[f"{key}_ci95"]]
    return Figure(formats.number(scale * fidelity[key], digits), formats.interval(limits, digits))


def _leakage(columns: Sequence[ComparedRun]) -> list[Row]:
    attacks = dict.fromkeys(name for column in columns for name in column.scores.get("leakage") or {})
    return _rows(
        {name: [_auc((column.scores.get("leakage") or {}).get(name)) for column in columns] for name in attacks}
    )


def _auc(attack: Results | None) -> Figure:
    if not attack:
        return Figure(formats.MISSING)
    return Figure(formats.number(attack["auc"]), formats.interval(attack["auc_ci95"]))


def _composite(columns: Sequence[ComparedRun]) -> list[Row]:
    found = [column.material.results["arms"][column.material.main_arm].get("composite") for column in columns]
    parts = {name: [formats.number(one and one["parts"][name]) for one in found] for name in _PARTS}
    rows = {"weighted geometric mean of the three": [formats.number(one and one["value"]) for one in found], **parts}
    return _rows({title: [Figure(cell) for cell in cells] for title, cells in rows.items()})


_PARTS = ("fidelity", "utility", "privacy")


def _rows(cells: dict[str, list[Figure]], references: tuple[str, ...] = ()) -> list[Row]:
    """Rows in which at least one run has a number."""
    return [
        Row(title, figures, reference=title in references)
        for title, figures in cells.items()
        if any(figure.value != formats.MISSING for figure in figures)
    ]


def _differences(columns: Sequence[ComparedRun]) -> list[str]:
    """Why the runs' scores may not be compared, if anything speaks against it."""
    records = [column.material.run.record for column in columns]
    checks: dict[str, list[object]] = {
        "They were made from different patients or preprocessing: scores differ for that alone.": [
            record.data_fingerprint for record in records
        ],
        "Other patients were held out (seed or fraction differ).": [
            (record.config.seed, record.config.federation.held_out_fraction) for record in records
        ],
        "They were evaluated with other settings: segmenters and attacks are not the same.": [
            column.material.results.get("evaluation") for column in columns
        ],
    }
    void = [
        f"{column.name}: its comparison of usefulness is void, for in it {reason}."
        for column in columns
        if (reason := why_void(column.scores.get("utility")))
    ]
    return [*void, *(reason for reason, values in checks.items() if any(value != values[0] for value in values))]


def _privacy_utility(columns: Sequence[ComparedRun]) -> Plot | None:
    points: list[tuple[float, float, list[float]]] = []
    for column in columns:
        spent, utility = largest_epsilon(column.material), column.scores.get("utility")
        if spent and utility and column.material.run.record.plan:
            points.append((spent, utility["synthetic"]["dice"]["mean"], utility["synthetic"]["dice_ci95"]["mean"]))
    real = [column.scores["utility"]["real"]["dice"]["mean"] for column in columns if column.scores.get("utility")]
    return utility_by_epsilon(sorted(points), real) if len({epsilon for epsilon, *_ in points}) > 1 else None
