"""results.json as tables of text, arms side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

from cmrfed import formats
from cmrfed.evaluation.schema import Estimate, FidelityScore, Means, SegmenterScores
from cmrfed.report.material import Material


@dataclass(frozen=True)
class Figure:
    """A number and, in small print beside it, its interval or unit."""

    value: str
    small: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table; `lead` marks the run's own arm, `reference` the line that others are read against.
    `about` stands in small print under its name."""

    name: str
    cells: list[Figure]
    lead: bool = False
    reference: bool = False
    about: str = ""


@dataclass(frozen=True)
class Table:
    """Column titles, without that of the row names, and the lines."""

    columns: list[str]
    rows: list[Row]


NOTHING = Figure(formats.MISSING)
REFERENCES = REAL, BLIND = "real images", "no image: one mask for every slice"
"""What arms are read against, common to all of them."""


def figure(value: float | None, ci95: list[float] | None, digits: int = 2, scale: float = 1.0) -> Figure:
    """A number with its interval, each where it is known, `scale` times as large."""
    if value is None:
        return NOTHING
    limits = [scale * limit for limit in ci95] if ci95 else None
    return Figure(formats.number(scale * value, digits), formats.interval(limits, digits))


def estimated(estimate: Estimate | None, digits: int = 2) -> Figure:
    """The same of an estimate."""
    return figure(estimate.value, estimate.ci95, digits) if estimate else NOTHING


def training_sets(material: Material) -> Iterator[tuple[str, SegmenterScores, bool]]:
    """(name, scores, whether of the run's own arm) of every training set of the segmenter; first, and once, those of
    `REFERENCES`, real images before all."""
    arms = {arm: scores.utility for arm, scores in material.scores.items() if scores.utility}
    for utility in list(arms.values())[:1]:
        yield REAL, utility.real, False
        yield BLIND, utility.blind, False
    for arm, utility in arms.items():
        yield f"synthetic, {material.arm_title(arm)}", utility.synthetic, arm == material.main_arm
        yield f"real + synthetic, {material.arm_title(arm)}", utility.mixed, arm == material.main_arm


def utility_table(material: Material) -> Table | None:
    """Dice with intervals, HD95, and the ratio to real images; None when utility was not measured."""
    sets = list(training_sets(material))
    if not sets:
        return None
    real = sets[0][1].dice.mean
    rows = [Row(name, _utility_cells(scores, real), lead, name in REFERENCES) for name, scores, lead in sets]
    return Table(["Dice mean", "mean / real", "Dice LV", "Dice myocardium", "Dice RV", "HD95 mean, mm"], rows)


def _utility_cells(scores: Means, real: float) -> list[Figure]:
    dice, limits = scores.dice, scores.dice_ci95
    return [
        figure(dice.mean, limits.mean),
        Figure(formats.number(dice.mean / real if real > 0 else None)),
        figure(dice.lv, limits.lv),
        figure(dice.myo, limits.myo),
        figure(dice.rv, limits.rv),
        Figure(formats.number(scores.hd95_mm.mean, 1)),
    ]


def vendor_table(material: Material) -> Table | None:
    """Mean Dice and HD95 by the vendor of the held-out patients; None when utility was not measured."""
    sets = list(training_sets(material))
    if not sets:
        return None
    vendors = {vendor: scores.patients for vendor, scores in sets[0][1].by_vendor.items()}
    columns = [f"{vendor} ({_patients(count)})" for vendor, count in vendors.items()]
    rows = [Row(name, _vendor_cells(scores, list(vendors)), lead, name in REFERENCES) for name, scores, lead in sets]
    return Table(columns, rows)


def _patients(count: int) -> str:
    return f"{count} patient" if count == 1 else f"{count} patients"


def _vendor_cells(scores: SegmenterScores, vendors: list[str]) -> list[Figure]:
    found = [scores.by_vendor[vendor] for vendor in vendors]
    return [Figure(formats.number(one.dice.mean), f"{one.hd95_mm.mean:.1f} mm") for one in found]


def fidelity_table(material: Material) -> Table | None:
    """FID and KID of every arm under their floor; None when fidelity was not measured."""
    arms = {arm: scores.fidelity for arm, scores in material.scores.items() if scores.fidelity}
    if not arms:
        return None
    first = next(iter(arms.values()))
    floor = [floor_of(first.frechet, 1), floor_of(first.kernel, 1, KID_SCALE)]
    rows = [
        Row(
            f"synthetic, {material.arm_title(arm)}",
            [value_of(fidelity.frechet, 1), value_of(fidelity.kernel, 1, KID_SCALE)],
            arm == material.main_arm,
        )
        for arm, fidelity in arms.items()
    ]
    return Table(["FID", "KID × 1000"], [Row("other real patients (the floor)", floor, reference=True), *rows])


KID_SCALE = 1000.0
"""A KID is too small to be printed as it is."""


def value_of(score: FidelityScore | None, digits: int, scale: float = 1.0) -> Figure:
    """What synthetic images have."""
    return figure(score.value, score.ci95, digits, scale) if score else NOTHING


def floor_of(score: FidelityScore | None, digits: int, scale: float = 1.0) -> Figure:
    """What other real patients have in their place."""
    return figure(score.floor, score.floor_ci95, digits, scale) if score else NOTHING


def composite_row(material: Material) -> tuple[str, str] | None:
    """The one score, "void" where a part of it is, and, always beside it, what it is made of; None when one of its
    parts was not measured."""
    found = material.main.composite
    if not found:
        return None
    parts, weights = found.parts, found.weights
    told = {
        "fidelity": (parts.fidelity, weights.fidelity),
        "utility": (parts.utility, weights.utility),
        "privacy": (parts.privacy, weights.privacy),
    }
    value = "void" if found.value is None else f"{formats.number(found.value)} of 1"
    return value, " · ".join(
        f"{name} {formats.number(part)} (weight {weight:.2g})" for name, (part, weight) in told.items()
    )


def timing_table(material: Material) -> Table:
    """Where the time of the run's own arm went."""
    timing = material.results.timing
    wall = timing.federation_wall_s or None  # 0 where no session was logged: then nothing is known around it
    overhead = timing.federation_overhead_s if wall else None
    share = f"{formats.percent(overhead / wall, 1)} of the federation's time" if wall and overhead is not None else ""
    lines = {
        "Training at the sites": Figure(formats.seconds(timing.train_s)),
        "Federation around it": Figure(formats.seconds(overhead), share),
        "Federation, wall clock": Figure(formats.seconds(wall)),
        "Sampling one slice": Figure(formats.seconds(timing.sample_s_per_slice)),
        "Evaluation": Figure(formats.seconds(timing.evaluate_s)),
    }
    return Table(["Time"], [Row(name, [figure]) for name, figure in lines.items()])
