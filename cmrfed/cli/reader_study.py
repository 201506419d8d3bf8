"""Commands about reader studies: reader-study makes one, reader-study score tells how its readers did."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from cmrfed.cli.stages import ReaderScore, ReaderStudy
from cmrfed.config import UserError, read_json_text, read_stage
from cmrfed.console import console, progress_bar, safe_text, say
from cmrfed.core import atomic
from cmrfed.outputs import new_folder, output_file, writing

_PHANTOMS = {"phantom"}


def make(config: ReaderStudy) -> None:
    out = new_folder(config.out)
    if config.mode == "plausibility":
        _make_review(config, out)
    else:
        _make_study(config, out)


def _make_study(config: ReaderStudy, out: Path) -> None:
    from cmrfed.reader_study import choose_items, write_study
    from cmrfed.runs import Run
    from cmrfed.slices import Slices

    if config.model:
        raise UserError("model: goes with mode=plausibility; to tell apart, real slices of a run are needed, give run=")
    run = Run.open(Path(config.run))
    arm = run.arm(config.arm)
    drawn = run.arm_folder(arm) / "synthetic.safetensors"
    if not drawn.exists():
        raise UserError(f"{drawn}: is missing; run `cmrfed evaluate run={config.run}` first")
    items = choose_items(run.held_out_slices(), Slices.load(drawn), config.items, config.seed)
    page = write_study(items, out, run.record.name, arm)
    _tell(page, f"{len(items)} images", "which are synthetic", set(run.config.data.sources) != _PHANTOMS)


def _make_review(config: ReaderStudy, out: Path) -> None:
    from cmrfed.api import load_model
    from cmrfed.reader_study import Painter, choose_review, write_review
    from cmrfed.runs import Run

    if config.model and config.arm:
        raise UserError("arm: goes with run=, and model= names one generator already; give one of the two")
    run = None if config.model else Run.open(Path(config.run))
    arm = run.arm(config.arm) if run else None
    model = load_model(run or str(config.model), arm)
    sampling = model.sampling.model_copy(update=config.sampling.model_dump(exclude_none=True))
    painter = Painter(model.generator, model.preprocessing, sampling)
    real = run.held_out_slices() if run and config.plausibility.real else None
    of = f"{run.record.name}, {arm}" if run else str(config.model)
    with progress_bar("drawing hearts") as progress:
        review = choose_review(real, painter, config.plausibility, of, config.seed, progress)
    page = write_review(review, out)
    what = f"{len(review.hearts)} hearts to rate, {len(review.orderings)} people's to put in order"
    real_patients = run is not None and review.patients and set(run.config.data.sources) != _PHANTOMS
    _tell(page, what, "what they are", real_patients)


def _tell(page: Path, what: str, key: str, patients: bool) -> None:
    console.print(f"{what}: {page.resolve()}", soft_wrap=True, markup=False)
    console.print(f"{key}: {page.resolve().with_name('key.json')}; keep it from readers", soft_wrap=True, markup=False)
    if patients:
        console.print("The page holds images of patients: treat it as patient data.", style="yellow")


def score(config: ReaderScore) -> None:
    out = output_file(config.out, (".json",), key="out") if config.out else None
    values = _key_values(Path(config.key))
    paths = [Path(name) for name in config.answers]
    review = isinstance(values, dict) and values.get("mode") == "plausibility"
    found = (_score_review if review else _score_study)(config.key, values, paths)
    if out:
        with writing(out):
            atomic.write_text(out, json.dumps(found, indent=2) + "\n")
        console.print(f"every score and note: {out}", soft_wrap=True, markup=False)


def _key_values(path: Path) -> Any:
    try:
        return read_json_text(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"key: {path} cannot be read ({reason}); give the key.json of the study") from None


def _score_study(where: str, values: Any, paths: list[Path]) -> dict[str, Any]:
    from cmrfed.reader_study import StudyKey, read_answers, score_readers

    key = read_stage(StudyKey, values, where)
    found = score_readers(key, [read_answers(path, key) for path in paths])
    table = Table(title=f"told apart, of {len(key.items)} images", title_justify="left")
    for column in ("reader", "answered", "accuracy [95 %]", "p", "synthetic found", "real found", "AUC", "s an image"):
        table.add_column(column, justify="left" if column == "reader" else "right")
    for reader in found["readers"]:
        table.add_row(safe_text(reader["reader"] or "unnamed"), *_cells(reader))
    if len(found["readers"]) > 1:
        table.add_row("all together", *_cells(found["pooled"]))
    console.print(table)
    if found["kappa"] is not None:
        console.print(f"agreement of readers: mean Cohen's kappa {found['kappa']:.2f}")
    console.print(_verdict(found["pooled"]), soft_wrap=True)
    return found


def _cells(scores: dict[str, Any]) -> list[str]:
    low, high = scores["accuracy_ci95"]
    shares = ["-" if scores[name] is None else f"{scores[name]:.2f}" for name in ("sensitivity", "specificity", "auc")]
    accuracy = f"{scores['accuracy']:.2f} [{low:.2f}, {high:.2f}]"
    return [str(scores["answered"]), accuracy, f"{scores['p']:.3g}", *shares, f"{scores['median_seconds']:.1f}"]


def _verdict(scores: dict[str, Any]) -> str:
    low, high = scores["accuracy_ci95"]
    if low <= 0.5 <= high:
        return f"Not told apart better than by chance: this study would have missed accuracies up to {high:.2f}."
    kind = "better" if low > 0.5 else "worse"
    hint = "" if low > 0.5 else "; so they saw a difference and read it the wrong way round"
    return f"Told apart {kind} than by chance{hint}."


def _score_review(where: str, values: Any, paths: list[Path]) -> dict[str, Any]:
    from cmrfed.reader_study import PlausibilityKey, read_plausibility_answers, score_review

    key = read_stage(PlausibilityKey, values, where)
    found = score_review(key, read_plausibility_answers(paths, key))
    rows = [(one["reader"] or "unnamed", one) for one in found["readers"]]
    if len(rows) > 1:
        rows.append(("all together", found["pooled"]))
    _print_ratings(rows)
    _print_groups(found["ratings_by_group"])
    _print_orders(rows, found["tau_by_pathology"])
    _print_artefacts(found["artefacts"])
    for note in found["notes"]:
        kind = "synthetic" if note["synthetic"] else "real"
        say(f"{note['reader'] or 'unnamed'} of a {kind} heart ({_of_heart(note)}): {note['note']}")
    return found


def _print_ratings(rows: list[tuple[str, dict[str, Any]]]) -> None:
    table = Table(title="how plausible, from 1 to 5", title_justify="left")
    for column in (
        "reader",
        "rated",
        "of",
        "real [95 %]",
        "synthetic [95 %]",
        "difference [95 %]",
        "Cliff's delta",
        "p",
    ):
        table.add_column(column, justify="left" if column in ("reader", "of") else "right")
    for name, scores in rows:
        for question in ("anatomy", "motion"):
            means = [_with_interval(scores[question][part]) for part in _COMPARED]
            p = scores[question]["p"]
            rated = str(scores["rated"])
            table.add_row(safe_text(name), rated, question, *means, "-" if p is None else f"{p:.3g}")
    if rows[0][1]["rated"] or rows[-1][1]["rated"]:
        console.print(table)


_COMPARED = ("real", "synthetic", "difference", "cliffs_delta")


def _print_groups(groups: list[dict[str, Any]]) -> None:
    table = Table(title="by what they are, all readers", title_justify="left")
    for column in ("hearts", "of", "shown", "anatomy [95 %]", "motion [95 %]"):
        table.add_column(column, justify="left" if column in ("hearts", "of") else "right")
    for group in groups:
        cells = [_with_interval(group[question]) for question in ("anatomy", "motion")]
        table.add_row("synthetic" if group["synthetic"] else "real", group["group"], str(group["hearts"]), *cells)
    if groups:
        console.print(table)


def _print_orders(rows: list[tuple[str, dict[str, Any]]], by_pathology: dict[str, Any]) -> None:
    table = Table(title="put in order of severity: Kendall's tau-b, 1 as it is and 0 by chance", title_justify="left")
    for column in ("reader", "ordered", "tau-b [95 %]"):
        table.add_column(column, justify="left" if column == "reader" else "right")
    for name, scores in rows:
        table.add_row(safe_text(name), str(scores["ordered"]), _with_interval(scores["tau_b"]))
    for name, tau in by_pathology.items():
        table.add_row(f"{name}, all readers", "", _with_interval(tau))
    if by_pathology:
        console.print(table)


def _print_artefacts(artefacts: dict[str, dict[str, int]]) -> None:
    table = Table(title="what gave it away, times chosen", title_justify="left")
    for column in ("", "of real", "of synthetic"):
        table.add_column(column, justify="right" if column else "left")
    chosen = {name: counts for name, counts in artefacts.items() if any(counts.values())}
    for name, counts in chosen.items():
        table.add_row(name.replace("_", " "), str(counts["real"]), str(counts["synthetic"]))
    if chosen:
        console.print(table)


def _of_heart(note: dict[str, Any]) -> str:
    severity = "" if note["severity"] is None else f", severity {note['severity']:g}"
    return f"{note['heart']}, {note['vendor']}, {note['pathology']}{severity}"


def _with_interval(score: dict[str, Any] | None) -> str:
    if score is None:
        return "-"
    interval = f" [{score['ci95'][0]:.2f}, {score['ci95'][1]:.2f}]" if score["ci95"] else ""
    return f"{score['mean']:.2f}{interval}"
