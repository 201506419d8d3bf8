"""Several runs side by side, in one HTML file: what each was, what it scored, and what privacy cost in usefulness."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmrfed import formats
from cmrfed.config import UserError
from cmrfed.evaluation.schema import ArmScores, AttackRates, Composite, Fidelity, SegmenterScores, Utility
from cmrfed.privacy import NoPrivacy
from cmrfed.report.card import largest_epsilon
from cmrfed.report.html import write_page
from cmrfed.report.material import Material, read_material
from cmrfed.report.plots import Plot, utility_by_epsilon
from cmrfed.report.tables import (
    BLIND,
    KID_SCALE,
    NOTHING,
    REAL,
    REFERENCES,
    Figure,
    Row,
    Table,
    estimated,
    figure,
    floor_of,
    value_of,
)
from cmrfed.runs import Run


@dataclass(frozen=True)
class ComparedRun:
    """One run's own arm."""

    material: Material

    @property
    def name(self) -> str:
        return self.material.run.record.name

    @property
    def scores(self) -> ArmScores:
        return self.material.main


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
    if isinstance(plan, NoPrivacy):
        return Figure("no guarantee")
    seeded = f"δ = {plan.delta:g}" if plan.guaranteed else "SEEDED: no guarantee"
    return Figure(formats.epsilon(largest_epsilon(material)), seeded)


def _scores(columns: Sequence[ComparedRun]) -> list[tuple[str, list[Row]]]:
    return [
        ("Usefulness: Dice of a segmenter trained on ...", _utility(columns)),
        ("Closeness to real images", _fidelity(columns)),
        ("Leakage: AUC of each attack", _leakage(columns)),
        ("Composite", _composite(columns)),
    ]


def _utility(columns: Sequence[ComparedRun]) -> list[Row]:
    utilities = [column.scores.utility for column in columns]
    rows = {title: [_dice(find(one)) if one else NOTHING for one in utilities] for title, find in _SETS.items()}
    return _rows(rows, references=REFERENCES)


_SETS: dict[str, Callable[[Utility], SegmenterScores]] = {
    REAL: lambda utility: utility.real,
    BLIND: lambda utility: utility.blind,
    "synthetic images": lambda utility: utility.synthetic,
    "real + synthetic images": lambda utility: utility.mixed,
}


def _dice(scores: SegmenterScores) -> Figure:
    return estimated(scores.mean_dice)


def _fidelity(columns: Sequence[ComparedRun]) -> list[Row]:
    found = [column.scores.fidelity for column in columns]
    rows = {title: [tell(one) if one else NOTHING for one in found] for title, tell in _DISTANCES.items()}
    return _rows(rows, references=tuple(title for title in rows if "floor" in title))


_DISTANCES: dict[str, Callable[[Fidelity], Figure]] = {
    "FID, other real patients (the floor)": lambda fidelity: floor_of(fidelity.frechet, 0),
    "FID, synthetic images": lambda fidelity: value_of(fidelity.frechet, 0),
    "KID × 1000, other real patients (the floor)": lambda fidelity: floor_of(fidelity.kernel, 0, KID_SCALE),
    "KID × 1000, synthetic images": lambda fidelity: value_of(fidelity.kernel, 0, KID_SCALE),
}


def _leakage(columns: Sequence[ComparedRun]) -> list[Row]:
    found = [column.scores.leakage or {} for column in columns]
    names = dict.fromkeys(name for attacks in found for name in attacks)
    return _rows({name: [_auc(attacks.get(name)) for attacks in found] for name in names})


def _auc(attack: AttackRates | None) -> Figure:
    return figure(attack.auc, attack.auc_ci95) if attack else NOTHING


def _composite(columns: Sequence[ComparedRun]) -> list[Row]:
    found = [column.scores.composite for column in columns]
    return _rows(
        {title: [figure(tell(one), None) if one else NOTHING for one in found] for title, tell in _PARTS.items()}
    )


_PARTS: dict[str, Callable[[Composite], float | None]] = {
    "weighted geometric mean of the three": lambda one: one.value,
    "fidelity": lambda one: one.parts.fidelity,
    "utility": lambda one: one.parts.utility,
    "privacy": lambda one: one.parts.privacy,
}


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
            column.material.results.evaluation for column in columns
        ],
    }
    void = [
        f"{column.name}: its comparison of usefulness is void, for in it {reason}."
        for column in columns
        if (reason := column.material.why_void)
    ]
    return [*void, *(reason for reason, values in checks.items() if any(value != values[0] for value in values))]


def _privacy_utility(columns: Sequence[ComparedRun]) -> Plot | None:
    points = []
    for column in columns:
        spent, utility = largest_epsilon(column.material), column.scores.utility
        if spent and utility and column.material.run.record.plan.private:
            points.append((spent, utility.synthetic.mean_dice))
    points.sort(key=lambda point: (point[0], point[1].value))
    real = [column.scores.utility.real.dice.mean for column in columns if column.scores.utility]
    return utility_by_epsilon(points, real) if len({epsilon for epsilon, _ in points}) > 1 else None
