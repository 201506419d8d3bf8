"""What images are worth beyond mean Dice, as tables of the run's own arm: tests, strata, function, unseen vendors,
diseases."""

from collections.abc import Callable, Iterator

from cmrfed import formats
from cmrfed.evaluation.schema import Agreement, LeftOut, Means, SegmenterComparison, SegmenterScores, Utility
from cmrfed.report.material import Material
from cmrfed.report.tables import NOTHING, Figure, Row, Table, estimated, figure

_STRATA: dict[str, Callable[[SegmenterScores], dict[str, Means]]] = {
    "phase": lambda scores: scores.by_phase,
    "pathology": lambda scores: scores.by_pathology,
    "data set": lambda scores: scores.by_dataset,
}
_FUNCTION = {
    f"{side}_{key}": f"{side.upper()} {title}"
    for side in ("lv", "rv")
    for key, title in {
        "edv_ml": "end-diastolic volume, ml",
        "esv_ml": "end-systolic volume, ml",
        "ef_percent": "ejection fraction, %",
        "mass_g": "mass, g",
    }.items()
}
_PROTOCOLS: dict[str, Callable[[Utility], LeftOut | None]] = {
    "A vendor that real training images lack: what its synthetic images give back": (
        lambda utility: utility.leave_one_vendor_out
    ),
    "The same, with its images drawn for other vendors' masks": lambda utility: utility.translation,
    "A data set that real training images lack": lambda utility: utility.cross_dataset,
}
_SETS: dict[str, Callable[[SegmenterComparison], SegmenterScores]] = {
    "real": lambda comparison: comparison.real,
    "synthetic": lambda comparison: comparison.synthetic,
    "mixed": lambda comparison: comparison.mixed,
}


def usefulness_tables(material: Material) -> list[tuple[str, str, Table]]:
    """(title, how its first column is called, table) of what was measured."""
    utility = material.main.utility
    if not utility:
        return []
    return [
        *_other_sets(utility),
        *_tests(utility),
        *_strata(utility),
        *_function(utility),
        *_unseen(utility),
        *_disease(utility),
    ]


def _other_sets(utility: Utility) -> Iterator[tuple[str, str, Table]]:
    others = {f"real + synthetic, {name[6:]}": scores for name, scores in utility.other_ratios.items()}
    if utility.real_augmented:
        others = {"real images, strong augmentation": utility.real_augmented, **others}
    if others:
        rows = [Row(name, [estimated(scores.mean_dice)]) for name, scores in others.items()]
        yield "Other training sets of the same budget", "Trained on", Table(["Dice mean"], rows)


def _tests(utility: Utility) -> Iterator[tuple[str, str, Table]]:
    rows = [row for row in utility.tests if (row.metric, row.structure) == ("dice", "mean")]
    if rows:
        lines = [
            Row(f"{_set(row.a)} − {_set(row.b)}", [figure(row.difference, row.ci95, 3), Figure(_p(row.p_holm))])
            for row in rows
        ]
        title = "Differences of mean Dice over the same patients, with p corrected for all tests made (Holm)"
        yield title, "Trained on", Table(["difference", "p"], lines)


def _set(name: str) -> str:
    return name.replace("epsilon_0/synthetic", "synthetic of the start").replace("_", " ")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _strata(utility: Utility) -> Iterator[tuple[str, str, Table]]:
    sets = [find(utility) for find in _SETS.values()]
    rows = [
        Row(f"{title}: {label}", [Figure(str(real.patients)), *(_dice(strata(one).get(label)) for one in sets)])
        for title, strata in _STRATA.items()
        for label, real in strata(utility.real).items()
    ]
    if rows:
        yield "Mean Dice by phase, pathology and data set", "Patients", Table(["patients", *_SETS], rows)


def _dice(scores: Means | None) -> Figure:
    return estimated(scores.mean_dice) if scores else NOTHING


def _function(utility: Utility) -> Iterator[tuple[str, str, Table]]:
    known = {name: function.measures for name, find in _SETS.items() if (function := find(utility).function)}
    measures = dict.fromkeys(measure for found in known.values() for measure in found)
    rows = [
        Row(f"{_FUNCTION.get(measure, measure)}; {name}", _agreement(found[measure]))
        for measure in measures
        for name, found in known.items()
    ]
    if rows:
        columns = ["bias", "95 % of differences lie between", "patients"]
        yield (
            "Volumes and function against the reader's (Bland and Altman)",
            "Measure; trained on",
            Table(columns, rows),
        )


def _agreement(found: Agreement) -> list[Figure]:
    lower, upper = found.lower_limit, found.upper_limit
    shown = formats.interval([lower.value, upper.value], 1) if lower and upper else formats.MISSING
    return [estimated(found.bias, 1), Figure(shown), Figure(str(found.patients))]


def _unseen(utility: Utility) -> Iterator[tuple[str, str, Table]]:
    for title, find in _PROTOCOLS.items():
        if found := find(utility):
            rows = [
                Row(group, [estimated(of, 3) for of in (drop.seen, drop.unseen, drop.helped, drop.drop, drop.removed)])
                for group, drop in {**found.groups, "mean": found.mean}.items()
            ]
            columns = ["trained on all", "without it", "without it + synthetic", "drop", "given back"]
            yield title, "Left out", Table(columns, rows)


def _disease(utility: Utility) -> Iterator[tuple[str, str, Table]]:
    if utility.disease:
        rows = [
            Row(name, [estimated(one.balanced_accuracy), estimated(one.macro_auc), Figure(_p(one.p))])
            for name, one in utility.disease.by_set.items()
        ]
        columns = ["balanced accuracy", "AUC", "p against chance"]
        yield "A classifier of diseases, by what it and its segmenter learnt from", "Trained on", Table(columns, rows)
