"""results.json as tables of text, arms side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

from cmrfed.report import formats
from cmrfed.report.material import Material, Results, why_void

STRUCTURE_NAMES = {"lv": "LV", "myo": "myocardium", "rv": "RV"}
"""The scored structures by their key in results.json, as a table's columns."""


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


REFERENCES = {"real": "real images", "blind": "no image: one mask for every slice"}
"""What arms are read against, common to all of them, by its key in results.json."""


def training_sets(material: Material) -> Iterator[tuple[str, Results, bool]]:
    """(name, scores, whether of the run's own arm) of every training set of the segmenter; first, and once, those of
    `REFERENCES`, real images before all."""
    arms = {arm: scores["utility"] for arm, scores in material.scores.items() if scores["utility"]}
    for utility in list(arms.values())[:1]:
        yield from ((name, utility[key], False) for key, name in REFERENCES.items() if key in utility)
    for arm, utility in arms.items():
        yield f"synthetic, {material.arm_title(arm)}", utility["synthetic"], arm == material.main_arm
        yield f"real + synthetic, {material.arm_title(arm)}", utility["mixed"], arm == material.main_arm


def utility_table(material: Material) -> Table | None:
    """Dice with intervals, HD95, and the ratio to real images; None when utility was not measured."""
    sets = list(training_sets(material))
    if not sets:
        return None
    real = sets[0][1]["dice"]["mean"]
    rows = [Row(name, _utility_cells(scores, real), lead, name in REFERENCES.values()) for name, scores, lead in sets]
    return Table(
        ["Dice mean", "mean / real", *(f"Dice {name}" for name in STRUCTURE_NAMES.values()), "HD95 mean, mm"], rows
    )


def _utility_cells(scores: Results, real: float) -> list[Figure]:
    dice, limits = scores["dice"], scores["dice_ci95"]
    mean, *structures = (
        Figure(formats.number(dice[key]), formats.interval(limits[key])) for key in ("mean", *STRUCTURE_NAMES)
    )
    ratio = dice["mean"] / real if real > 0 else None
    return [mean, Figure(formats.number(ratio)), *structures, Figure(formats.number(scores["hd95_mm"]["mean"], 1))]


def vendor_table(material: Material) -> Table | None:
    """Mean Dice and HD95 by the vendor of the held-out patients; None when utility was not measured."""
    sets = list(training_sets(material))
    if not sets:
        return None
    vendors = {vendor: scores["patients"] for vendor, scores in sets[0][1]["by_vendor"].items()}
    columns = [f"{vendor} ({_patients(count)})" for vendor, count in vendors.items()]
    rows = [
        Row(name, _vendor_cells(scores, list(vendors)), lead, name in REFERENCES.values())
        for name, scores, lead in sets
    ]
    return Table(columns, rows)


def _patients(count: int) -> str:
    return f"{count} patient" if count == 1 else f"{count} patients"


def _vendor_cells(scores: Results, vendors: list[str]) -> list[Figure]:
    found = [scores["by_vendor"][vendor] for vendor in vendors]
    return [Figure(formats.number(one["dice"]["mean"]), f"{one['hd95_mm']['mean']:.1f} mm") for one in found]


def fidelity_table(material: Material) -> Table | None:
    """FID and KID of every arm under their floor; None when fidelity was not measured."""
    arms = {arm: scores["fidelity"] for arm, scores in material.scores.items() if scores["fidelity"]}
    if not arms:
        return None
    floor = Row("other real patients (the floor)", _fidelity_cells(next(iter(arms.values())), "_real"), reference=True)
    rows = [
        Row(f"synthetic, {material.arm_title(arm)}", _fidelity_cells(scores, ""), arm == material.main_arm)
        for arm, scores in arms.items()
    ]
    return Table(["FID", "KID × 1000"], [floor, *rows])


def _fidelity_cells(scores: Results, side: str) -> list[Figure]:
    scales = {"fid": (1, 1), "kid": (1000, 1)}
    return [
        Figure(
            formats.number(scale * scores[f"{metric}{side}"], digits),
            formats.interval([scale * limit for limit in scores[f"{metric}{side}_ci95"]], digits),
        )
        for metric, (scale, digits) in scales.items()
    ]


def void_comparison(material: Material) -> str | None:
    """Why the segmenters say nothing of usefulness; None where they do."""
    return why_void((material.scores.get(material.main_arm) or {}).get("utility"))


def composite_row(material: Material) -> tuple[str, str] | None:
    """The one score, "void" where a part of it is, and, always beside it, what it is made of; None when one of its
    parts was not measured."""
    found = material.results["arms"].get(material.main_arm, {}).get("composite")
    if not found:
        return None
    parts = (
        f"{name} {formats.number(part)} (weight {found['weights'][name]:.2g})" for name, part in found["parts"].items()
    )
    value = "void" if found["value"] is None else f"{formats.number(found['value'])} of 1"
    return value, " · ".join(parts)


def timing_table(material: Material) -> Table:
    """Where the time of the run's own arm went."""
    timing = material.results["timing"]
    wall = timing.get("federation_wall_s") or None  # 0 where no session was logged: then nothing is known around it
    overhead = timing.get("federation_overhead_s") if wall else None
    share = f"{formats.percent(overhead / wall, 1)} of the federation's time" if wall and overhead is not None else ""
    lines = {
        "Training at the sites": Figure(formats.seconds(timing.get("train_s"))),
        "Federation around it": Figure(formats.seconds(overhead), share),
        "Federation, wall clock": Figure(formats.seconds(wall)),
        "Sampling one slice": Figure(formats.seconds(timing.get("sample_s_per_slice"))),
        "Evaluation": Figure(formats.seconds(timing.get("evaluate_s"))),
    }
    return Table(["Time"], [Row(name, [figure]) for name, figure in lines.items()])
