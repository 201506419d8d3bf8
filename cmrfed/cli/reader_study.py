"""Commands about reader studies: reader-study makes one, reader-study score tells how its readers did."""

from pathlib import Path
from typing import Any

from rich.table import Table

from cmrfed.cli.stages import ReaderScore, ReaderStudy
from cmrfed.config import UserError, read_stage_json
from cmrfed.console import console, safe_text
from cmrfed.outputs import new_folder


def make(config: ReaderStudy) -> None:
    from cmrfed.reader_study import choose_items, write_study
    from cmrfed.runs import Run
    from cmrfed.slices import Slices

    out = new_folder(config.out)
    run = Run.open(Path(config.run))
    arm = run.arm(config.arm)
    drawn = run.arm_folder(arm) / "synthetic.safetensors"
    if not drawn.exists():
        raise UserError(f"{drawn}: is missing; run `cmrfed evaluate run={config.run}` first")
    items = choose_items(run.held_out_slices(), Slices.load(drawn), config.items, config.seed)
    page = write_study(items, out, run.record.name, arm)
    console.print(f"{len(items)} images: {page.resolve()}", soft_wrap=True)
    console.print(f"which are synthetic: {page.resolve().with_name('key.json')}; keep it from readers", soft_wrap=True)
    if set(run.config.data.sources) != {"phantom"}:
        console.print("The page holds images of patients: treat it as patient data.", style="yellow")


def score(config: ReaderScore) -> None:
    from cmrfed.reader_study import StudyKey, read_answers, score_readers

    key = read_stage_json(StudyKey, Path(config.key))
    found = score_readers(key, [read_answers(Path(name), key) for name in config.answers])
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
