"""Commands about runs: simulate, prepare, pretrain, generate, evaluate, report."""

import json
from pathlib import Path
from typing import Any

from cmrfed.cache import cache_folder
from cmrfed.cli.commands import Values
from cmrfed.cli.stages import Generate, Prepare
from cmrfed.composition import configs_folder
from cmrfed.config import (
    EvaluationConfig,
    PreprocessingConfig,
    RunConfig,
    SamplingConfig,
    StoppedEarly,
    UserError,
    read_stage,
)
from cmrfed.console import console, if_interrupted, progress_bar
from cmrfed.core import atomic
from cmrfed.outputs import output_file, output_folder, private_folder, refuse_in_the_way

_ROOM_FOR_A_RUN_BYTES = 512 * 2**20
"""Prepared slices, checkpoints, models and features of a small run; larger cohorts need more."""


def simulate(values: Values) -> Path:
    from cmrfed.apps.simulations import simulate as simulation
    from cmrfed.runs import interrupted_run

    out, name, resumed = values.pop("out"), values.pop("name"), values.pop("resume")
    if resumed not in (None, "auto"):
        run = simulation.resume(_open_to_write(resumed, "resume"))
    else:
        config, out = read_stage(RunConfig, values), output_folder(out, _ROOM_FOR_A_RUN_BYTES)
        cut_short = interrupted_run(config, out) if resumed else None
        run = simulation.resume(cut_short) if cut_short else simulation.simulate(config, out, name)
    with if_interrupted(lambda: f"the training is kept, and cmrfed evaluate run={run.folder} measures it"):
        _evaluate_run(run, run.config.evaluation)
    if ends := run.early_ends():
        told = "; ".join(f"arm {arm} stopped {why}" for arm, why in ends.items())
        raise StoppedEarly(f"{told}; a site's own reason is in {run.folder}/sites/SITE/refusals.jsonl", run.folder)
    return run.folder


def prepare(values: Values) -> None:
    config = read_stage(Prepare, values)
    from cmrfed.preparation import Source
    from cmrfed.site import Home
    from cmrfed.site.division import HELD_OUT, TRAINED_ON, prepare_sides, refuse_twins
    from cmrfed.site.layout import identity_of
    from cmrfed.slices import is_slices

    home = output_folder(config.home, key="home")
    refuse_in_the_way([home / name for name in (TRAINED_ON, HELD_OUT)], is_slices, key="home")
    source = Source.of(config.data, config.preprocessing)
    private_folder(home)
    policy = home / "site.yaml"
    if not policy.exists():
        _write_policy(policy)
    refuse_few = Home(home).policy.refuse_few
    slices, kept = prepare_sides(home, source, config.hold_out, progress_bar, refuse_few)
    refuse_twins(slices, str(home))
    console.print(f"{slices.number_of_patients} patients, {len(slices)} slices to train on in {home}", soft_wrap=True)
    if kept:
        counts = f"{kept.number_of_patients} patients, {len(kept)} slices"
        console.print(f"{counts} kept out of every training, for this site's membership audits", soft_wrap=True)
    console.print(f"now set the site's name and limits in {policy}", soft_wrap=True)
    console.print(
        f"public key, for the peers' site.yaml where noise is shared: {identity_of(home).public}", soft_wrap=True
    )


def _write_policy(path: Path) -> None:
    """The example to edit, with this hospital's ledger by its absolute place: a home that is copied goes on with it."""
    from cmrfed.site.policy import default_ledger

    example = (configs_folder() / "site" / "example.yaml").read_text(encoding="utf-8")
    atomic.write_text(path, example.replace('ledger: ""', f"ledger: {json.dumps(str(default_ledger()))}"))


def pretrain(values: Values) -> None:
    from cmrfed.federation.start import pretrained_on_phantom

    output_folder(cache_folder(), key="CMRFED_CACHE")
    path = pretrained_on_phantom(read_stage(RunConfig, {"data": {"root": ".", "sources": {}}, **values}))
    console.print(f"pretrained generator: {path}", soft_wrap=True)


def generate(values: Values) -> None:
    from cmrfed.generation import Order, draw_cases, plan_cases

    config = read_stage(Generate, values)
    order = Order(
        masks=Path(config.masks).expanduser(),
        out=output_folder(config.out),
        labels=config.labels,
        frames=config.frames,
        grid=config.grid,
        vendors=config.vendor,
        phases=config.phase,
        seed=config.seed,
    )
    generator, preprocessing, sampling = _generator_of(config)
    with progress_bar("reading masks") as progress:
        plan = plan_cases(order, preprocessing, progress)
    with progress_bar("generating") as progress:
        draw_cases(generator, plan, sampling, progress)
    console.print(f"{len(plan.pairs)} image and mask pairs in {order.out}", soft_wrap=True, markup=False)
    for what, count in plan.not_drawn.items():
        if count:
            console.print(f"  not drawn: {what} ({count})", style="yellow", soft_wrap=True, markup=False)
    if order.grid == "input":
        around = f"beyond {preprocessing.field_of_view_mm:g} mm around the heart, and in slices that are not drawn"
        console.print(f"  images have their masks' grid, and are 0 {around}", soft_wrap=True, markup=False)


def _generator_of(config: Generate) -> tuple[Any, PreprocessingConfig, SamplingConfig]:
    """The generator in the file `model`, or that of `run`, the grid that it draws on and how it is drawn from."""
    from cmrfed.updates import load_generator, sampling_notes

    if config.model and config.arm:
        raise UserError("arm: goes with run=, and model= names one generator already; give one of the two")
    run = None if config.model else _open(config.run)
    path = run.model(config.arm) if run else Path(str(config.model)).expanduser()
    generator, notes = load_generator(path)
    known: Values = notes | sampling_notes(run.config) if run else notes
    if "preprocessing" not in known:
        raise UserError(f"{path}: does not say its grid; give its run as run=FOLDER, with arm= for one of its arms")
    asked = config.sampling.model_dump(exclude_none=True)
    sampling = read_stage(SamplingConfig, {**known.get("sampling", {}), **asked}, "sampling")
    return generator, read_stage(PreprocessingConfig, known["preprocessing"], str(path)), sampling


def release(values: Values) -> None:
    from cmrfed.release import ReleasePolicy
    from cmrfed.release import release as write_release
    from cmrfed.report.material import read_material

    policy = read_stage(ReleasePolicy, values["policy"], "policy")
    out = output_folder(values["out"])
    folder = write_release(read_material(_open(values["run"]), False), policy, out)
    console.print(f"release: {folder}; read README.md and TERMS.md before you give it away", soft_wrap=True)


def evaluate(values: Values) -> None:
    config = read_stage(EvaluationConfig, values["evaluation"], "evaluation")
    _evaluate_run(_of_folder(values, config) if values["images"] else _open_to_write(values["run"]), config)


def _of_folder(values: Values, evaluation: EvaluationConfig) -> Any:
    """A new run about somebody else's images, against the patients of `data` or, without it, of `run`."""
    from cmrfed.runs.outside_images import Reference, lay_out_folder

    out, members = output_folder(values["out"], _ROOM_FOR_A_RUN_BYTES), values["members"]
    if values["data"]:
        stages = {key: values[key] for key in ("data", "preprocessing", "seed")}
        config = read_stage(RunConfig, stages).model_copy(update={"evaluation": evaluation})
        reference = Reference.of_data(config, Path(members) if members else None, out, progress_bar)
    else:
        if members:
            raise UserError("members: goes with data=NAME; a run knows which of its patients it was trained on")
        run = _open(values["run"])
        reference = Reference.of_run(run, run.config.model_copy(update={"evaluation": evaluation}))
    return lay_out_folder(Path(values["images"]), reference, out, progress_bar)


def report(values: Values) -> None:
    from cmrfed.report import write_report

    _done(write_report(_open_to_write(values["run"]), values["show_real_images"]))


def compare(values: Values) -> None:
    from cmrfed.report import is_comparison, write_comparison

    out = output_file(values["out"], (".html",), is_comparison)
    page = write_comparison([_open(name) for name in values["run"]], out)
    console.print(f"comparison: {page}", soft_wrap=True)


def _evaluate_run(run: Any, config: EvaluationConfig) -> None:
    from cmrfed.report import write_report
    from cmrfed.runs import evaluation

    evaluation.evaluate(run, config, progress_bar)
    _done(write_report(run, config.show_real_images))


def _open(folder: str) -> Any:
    from cmrfed.runs import Run

    return Run.open(Path(folder))


def _open_to_write(folder: str, key: str = "run") -> Any:
    run = _open(folder)
    output_folder(run.folder, key=key)
    return run


def _done(report: Path) -> None:
    console.print(f"report: {report}", soft_wrap=True)
