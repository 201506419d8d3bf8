"""Commands about runs: simulate, prepare, pretrain, finetune, generate, evaluate, report."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cmrfed.cache import cache_folder
from cmrfed.cli.joining import write_policy
from cmrfed.cli.stages import (
    Compare,
    Distill,
    Evaluate,
    Finetune,
    Generate,
    OfAModel,
    Prepare,
    Pretrain,
    Release,
    Report,
    Simulate,
)
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
from cmrfed.outputs import output_file, output_folder, private_folder, refuse_in_the_way, writing


def simulate(command: Simulate) -> Path:
    from cmrfed import api

    if command.resume in (None, "auto"):
        run = api.federate(command.config, command.out, command.name, resume=bool(command.resume))
    else:
        run = api.resume(command.resume)
    with if_interrupted(lambda: f"the training is kept, and cmrfed evaluate run={run.folder} measures it"):
        _evaluate_run(run, run.config.evaluation)
    if ends := run.early_ends():
        told = "; ".join(f"arm {arm} stopped {why}" for arm, why in ends.items())
        raise StoppedEarly(f"{told}; a site's own reason is in {run.folder}/sites/SITE/refusals.jsonl", run.folder)
    return run.folder


def prepare(config: Prepare) -> None:
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
        write_policy(policy, {})
    refuse_few = Home(home).policy.refuse_few
    slices, kept = prepare_sides(home, source, config.hold_out, progress_bar, refuse_few)
    refuse_twins(slices, str(home))
    console.print(f"{slices.number_of_patients} patients, {len(slices)} slices to train on in {home}", soft_wrap=True)
    if kept:
        counts = f"{kept.number_of_patients} patients, {len(kept)} slices"
        console.print(f"{counts} kept out of every training, for this site's membership audits", soft_wrap=True)
    console.print(f"now set the site's name and limits in {policy}", soft_wrap=True)
    console.print(
        f"public key, for the peers' site.yaml where noise is distributed: {identity_of(home).public}", soft_wrap=True
    )


def pretrain(command: Pretrain) -> None:
    from cmrfed.federation.start import make_directions, pretrained_on_phantom
    from cmrfed.foundation import card_of, is_foundation, save_foundation
    from cmrfed.generators.directions import NAME as DIRECTIONS
    from cmrfed.updates import load_weights

    output_folder(cache_folder(), key="CMRFED_CACHE")
    out = output_file(command.out, (".safetensors",), is_foundation) if command.out else None
    path = pretrained_on_phantom(command.config)
    console.print(f"pretrained generator: {path}", soft_wrap=True)
    if out:
        with writing(out):
            weights, notes = load_weights(path)
            weights |= {DIRECTIONS: make_directions(command.config, weights, command.generator.directions)}
            save_foundation(out, command.config, weights, notes["pretraining"])
            atomic.write_text(out.with_suffix(".md"), card_of(out))
        console.print(f"in half precision: {out}", soft_wrap=True)


def finetune(command: Finetune) -> None:
    from cmrfed.finetuning import finetune as trained_further
    from cmrfed.finetuning import is_finetuned, save_finetuned

    output_folder(cache_folder(), key="CMRFED_CACHE")
    out = output_file(command.out, (".safetensors",), is_finetuned)
    found = trained_further(command.config, command.finetuning)
    with writing(out):
        save_finetuned(out, found, command.config, command.finetuning)
    if found.losses:
        before, after = found.losses
        told = f"loss on public patients held out: {before:.4f} before, {after:.4f} after"
        console.print(told if after < before else f"{told}: it learnt these patients by heart; take fewer steps")
    console.print(f"a start: cmrfed simulate generator.init={out}", soft_wrap=True, markup=False)


def generate(config: Generate) -> None:
    from cmrfed.generation import LEFT_OUT, draw_cases, not_understood, plan_cases

    out = output_folder(config.out)
    model, sampling = _model_of(config)
    screen = _screen(config, model.preprocessing)
    counts = Counter[str]()
    with _orders(config, out, model) as orders:
        with progress_bar("reading masks") as progress:
            plans = [plan_cases(order, model.preprocessing, progress) for order in orders]
        for plan in plans:
            with progress_bar("generating") as progress:
                counts += draw_cases(model.generator, plan, sampling, progress, screen)
    pairs = sum(len(plan.pairs) for plan in plans) - counts[LEFT_OUT]
    not_drawn = sum((plan.not_drawn for plan in plans), Counter[str]())
    console.print(f"{pairs} image and mask pairs in {out}", soft_wrap=True, markup=False)
    counts += sum((not_understood(model.generator, plan) for plan in plans), Counter[str]())
    for what, count in counts.items():
        console.print(f"  {what} ({count})", style="yellow", soft_wrap=True, markup=False)
    for what, count in not_drawn.items():
        if count:
            console.print(f"  not drawn: {what} ({count})", style="yellow", soft_wrap=True, markup=False)
    if config.grid == "input":
        field_mm = model.preprocessing.field_of_view_mm
        around = f"beyond {field_mm:g} mm around the heart, and in slices that are not drawn"
        console.print(f"  images have their masks' grid, and are 0 {around}", soft_wrap=True, markup=False)


def _screen(config: Generate, preprocessing: PreprocessingConfig) -> Any:
    """None where nobody asked for it."""
    from cmrfed.screening import Screen, frozen_segmenter

    if config.screening is None:
        return None
    output_folder(cache_folder(), key="CMRFED_CACHE")
    return Screen(frozen_segmenter(preprocessing, progress_bar), config.screening)


def _hearts_order(config: Generate, folder: Path, order: Any) -> Any:
    """For hearts of `cmrfed anatomy`, each told as its table has it."""
    from cmrfed.anatomy import conditions_by_stack, read_rows

    if config.masks is not None or config.frames is not None or config.labels != "cmrfed":
        raise UserError("anatomy: stands for masks=, frames= and labels=; leave these out")
    if config.phase != ("unknown",):
        raise UserError("phase: each of the hearts of anatomy= has its two phases; leave it out")
    known = conditions_by_stack(read_rows(folder))
    if strangers := {path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz")} - known.keys():
        raise UserError(
            f"anatomy: {folder} holds {min(strangers)}.nii.gz, of which its hearts.csv does not tell; a mask of an "
            "earlier call? take it away, or draw the hearts into a new folder"
        )
    return order(folder, phases=("unknown",), of_stack=known)


@contextmanager
def _orders(config: Generate, out: Path, model: Any) -> Iterator[list[Any]]:
    """What is to be drawn: for the masks that were given, or for nobody's, each at its own phase."""
    from cmrfed.generation import Order, masks_of_nobody

    told = _told(config, model)
    vendors = (told.pop("vendor"),) if "vendor" in told else config.vendor
    phases = (told.pop("phase"),) if "phase" in told else config.phase
    order = partial(Order, out=out, grid=config.grid, vendors=vendors, seed=config.seed, told=told)
    if config.anatomy is not None:
        yield [_hearts_order(config, Path(config.anatomy).expanduser(), order)]
        return
    if config.masks is not None:
        masks = Path(config.masks).expanduser()
        yield [order(masks, labels=config.labels, frames=config.frames, phases=phases)]
        return
    if config.frames is not None or config.labels != "cmrfed":
        raise UserError(
            "masks: labels= and frames= say how to read masks of your own; give them too, or leave both out"
        )
    phases = ("ED", "ES") if phases == ("unknown",) else phases
    if "unknown" in phases:
        raise UserError(f"phase: simulated hearts are at ED or ES, found {','.join(phases)}; choose of these two")
    with masks_of_nobody(config.hearts, config.seed, phases, progress_bar) as folders:
        yield [order(folder, phases=(phase,)) for phase, folder in folders.items()]


def _told(config: Generate, model: Any) -> dict[str, Any]:
    """What the text says. Raises UserError where the generator is not told of such things."""
    from cmrfed.attributes import conditions_of

    told = conditions_of(config.text) if config.text else {}
    known = model.generator.config.conditions
    if strangers := [name for name in told if name not in known]:
        raise UserError(f"text: this generator is not told of {strangers[0]}; it is of {', '.join(known)}")
    for name in ("vendor", "phase"):
        given = getattr(config, name)
        if name in told and given not in (("unknown",), (told[name],)):
            raise UserError(f"text: says {name} {told[name]}, and {name}={','.join(given)}; say it once")
    return told


def distill(command: Distill) -> None:
    from cmrfed.distillation import distil
    from cmrfed.site.request import digest
    from cmrfed.updates import read_weights, save_generator

    output_folder(cache_folder(), key="CMRFED_CACHE")
    out = output_file(command.out, (".safetensors",))
    model, sampling = _model_of(command)
    grid, settings = model.preprocessing, command.distillation
    weights = distil(model.generator, grid, sampling, settings, command.training, command.seed)
    drawn = sampling.model_copy(update={"steps": settings.steps, "guidance": 1.0})  # the teacher's guidance is in it
    of = {"teacher_sha256": digest("", read_weights(model.generator)), "seed": command.seed}
    notes = {"preprocessing": grid, "sampling": drawn, "distilled": settings}
    plain = {name: one.model_dump(mode="json") for name, one in notes.items()}
    with writing(out):
        save_generator(out, model.generator, weights, **(plain | {"distilled": plain["distilled"] | of}))
    console.print(f"draws in {settings.steps} steps: cmrfed generate model={out}", soft_wrap=True, markup=False)


def _model_of(config: OfAModel) -> tuple[Any, SamplingConfig]:
    """The model that is asked for, and how it is to be drawn from."""
    from cmrfed.api import load_model

    if config.model and config.arm:
        raise UserError("arm: goes with run=, and model= names one generator already; give one of the two")
    model = load_model(config.model or _open(config.run), config.arm)
    return model, model.sampling.model_copy(update=config.sampling.model_dump(exclude_none=True))


def release(command: Release) -> None:
    from cmrfed.release import release as write_release
    from cmrfed.report.material import read_material

    out = output_folder(command.out)
    folder = write_release(read_material(_open(command.run), False), command.policy, out)
    console.print(f"release: {folder}; read README.md and TERMS.md before you give it away", soft_wrap=True)


def evaluate(command: Evaluate) -> None:
    run = _of_folder(command, command.images) if command.images else _open(command.run)
    _evaluate_run(run, command.evaluation)


def _of_folder(command: Evaluate, images: str) -> Any:
    """A new run about somebody else's images, against the patients of `data` or, without it, of `run`."""
    from cmrfed.api import ROOM_FOR_A_RUN_BYTES
    from cmrfed.runs.outside_images import Reference, lay_out_folder

    out, members = output_folder(command.out, ROOM_FOR_A_RUN_BYTES), command.members
    if command.data:
        config = read_stage(RunConfig, {key: getattr(command, key) for key in _OF_A_REFERENCE})
        reference = Reference.of_data(config, Path(members) if members else None, out, progress_bar)
    else:
        if members:
            raise UserError("members: goes with data=NAME; a run knows which of its patients it was trained on")
        run = _open(command.run)
        reference = Reference.of_run(run, run.config.model_copy(update={"evaluation": command.evaluation}))
    return lay_out_folder(Path(images), reference, out, progress_bar)


_OF_A_REFERENCE = ("data", "preprocessing", "seed", "evaluation")


def report(command: Report) -> None:
    from cmrfed.report import write_report

    run = _open(command.run)
    output_folder(run.folder, key="run")
    _done(write_report(run, command.show_real_images))


def compare(command: Compare) -> None:
    from cmrfed.report import is_comparison, write_comparison

    out = output_file(command.out, (".html",), is_comparison)
    page = write_comparison([_open(name) for name in command.run], out)
    console.print(f"comparison: {page}", soft_wrap=True)


def _evaluate_run(run: Any, config: EvaluationConfig) -> None:
    from cmrfed import api

    api.evaluate(run, config)
    _done(run.folder / "report.html")


def _open(folder: str) -> Any:
    from cmrfed.runs import Run

    return Run.open(Path(folder))


def _done(report: Path) -> None:
    console.print(f"report: {report}", soft_wrap=True)
