"""What images are worth beyond mean Dice, as tables of the run's own arm: tests, strata, function, unseen vendors,
diseases."""

from collections.abc import Iterator

from cmrfed.report import formats
from cmrfed.report.material import Material, Results
from cmrfed.report.tables import Figure, Row, Table

_STRATA = {"by_phase": "phase", "by_pathology": "pathology", "by_dataset": "data set"}
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
_PROTOCOLS = {
    "leave_one_vendor_out": "A vendor that real training images lack: what its synthetic images give back",
    "translation": "The same, with its images drawn for other vendors' masks",
    "cross_dataset": "A data set that real training images lack",
}
_SETS = ("real", "synthetic", "mixed")


def usefulness_tables(material: Material) -> list[tuple[str, str, Table]]:
    """(title, how its first column is called, table) of what was measured."""
    utility = (material.scores.get(material.main_arm) or {}).get("utility")
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


def _figure(scored: Results | None, digits: int = 2) -> Figure:
    """A value with its interval, each where it is known."""
    if not scored:
        return Figure(formats.MISSING)
    limits = scored.get("ci95")
    return Figure(formats.number(scored["value"], digits), formats.interval(limits, digits) if limits else "")


def _dice(scores: Results) -> Figure:
    return _figure({"value": scores["dice"]["mean"], "ci95": (scores.get("dice_ci95") or {}).get("mean")})


def _other_sets(utility: Results) -> Iterator[tuple[str, str, Table]]:
    others = [name for name in utility if name == "real_augmented" or name.startswith("mixed_")]
    if others:
        names = {"real_augmented": "real images, strong augmentation"}
        rows = [Row(names.get(name, f"real + synthetic, {name[6:]}"), [_dice(utility[name])]) for name in others]
        yield "Other training sets of the same budget", "Trained on", Table(["Dice mean"], rows)


def _tests(utility: Results) -> Iterator[tuple[str, str, Table]]:
    rows = [row for row in utility.get("tests", []) if (row["metric"], row["structure"]) == ("dice", "mean")]
    if rows:
        lines = [
            Row(
                f"{_set(row['a'])} − {_set(row['b'])}",
                [_figure({"value": row["difference"], "ci95": row["ci95"]}, 3), Figure(_p(row["p_holm"]))],
            )
            for row in rows
        ]
        title = "Differences of mean Dice over the same patients, with p corrected for all tests made (Holm)"
        yield title, "Trained on", Table(["difference", "p"], lines)


def _set(name: str) -> str:
    return name.replace("epsilon_0/synthetic", "synthetic of the start").replace("_", " ")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _strata(utility: Results) -> Iterator[tuple[str, str, Table]]:
    rows = [
        Row(f"{title}: {label}", [Figure(str(utility["real"][key][label]["patients"])), *_by_set(utility, key, label)])
        for key, title in _STRATA.items()
        for label in utility["real"].get(key, {})
    ]
    if rows:
        yield "Mean Dice by phase, pathology and data set", "Patients", Table(["patients", *_SETS], rows)


def _by_set(utility: Results, key: str, label: str) -> list[Figure]:
    found = [utility[name].get(key, {}).get(label) for name in _SETS]
    return [_dice(one) if one else Figure(formats.MISSING) for one in found]


def _function(utility: Results) -> Iterator[tuple[str, str, Table]]:
    known = [name for name in _SETS if utility[name].get("function")]
    measures = [name for name in utility[known[0]]["function"] if name != "left_out"] if known else []
    rows = [
        Row(f"{_FUNCTION.get(measure, measure)}; {name}", _agreement(utility[name]["function"][measure]))
        for measure in measures
        for name in known
    ]
    if rows:
        columns = ["bias", "95 % of differences lie between", "patients"]
        yield (
            "Volumes and function against the reader's (Bland and Altman)",
            "Measure; trained on",
            Table(columns, rows),
        )


def _agreement(found: Results) -> list[Figure]:
    limits = [found["lower_limit"], found["upper_limit"]]
    shown = formats.interval([limit["value"] for limit in limits], 1) if all(limits) else formats.MISSING
    return [_figure(found["bias"], 1), Figure(shown), Figure(str(found["patients"]))]


def _unseen(utility: Results) -> Iterator[tuple[str, str, Table]]:
    names = ("seen", "unseen", "helped", "drop", "removed")
    for protocol, title in _PROTOCOLS.items():
        if found := utility.get(protocol):
            groups = {**found["groups"], "mean": found["mean"]}
            rows = [Row(group, [_figure(of[name], 3) for name in names]) for group, of in groups.items()]
            columns = ["trained on all", "without it", "without it + synthetic", "drop", "given back"]
            yield title, "Left out", Table(columns, rows)


def _disease(utility: Results) -> Iterator[tuple[str, str, Table]]:
    found = utility.get("disease")
    rows = [
        Row(name, [_figure(one.get("balanced_accuracy")), _figure(one.get("macro_auc")), Figure(_p(one["p"]))])
        for name, one in (found or {}).items()
        if isinstance(one, dict) and "balanced_accuracy" in one
    ]
    if rows:
        columns = ["balanced accuracy", "AUC", "p against chance"]
        yield "A classifier of diseases, by what it and its segmenter learnt from", "Trained on", Table(columns, rows)
