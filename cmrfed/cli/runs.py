"""Commands about runs: simulate, prepare, pretrain, generate, evaluate, report."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from cmrfed.cli.overrides import configs_folder
from cmrfed.cli.stages import Prepare
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

Values = dict[str, Any]
"""A command's configuration as plain values."""


def simulate(values: Values) -> Path:
    _need_clone()
    from simulations import simulate as simulation

    out, name, resumed = Path(values.pop("out")), values.pop("name"), values.pop("resume")
    if resumed not in (None, "auto"):
        run = simulation.resume(_open(resumed))
    else:
        config = read_stage(RunConfig, values)
        cut_short = simulation.interrupted_run(config, out) if resumed else None
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
    from cmrfed.site.division import prepare_sides, refuse_twins

    source = Source.of(config.data, config.preprocessing)
    home = Path(config.home).expanduser().resolve()
    policy = home / "site.yaml"
    if not policy.exists():
        _write_policy(policy)
    refuse_few = Home(home).policy.refuse_few
    slices, kept = prepare_sides(home, source, config.hold_out, progress_bar, refuse_few)
    refuse_twins(slices, str(home))
    console.print(f"{slices.number_of_patients} patients, {len(slices)} slices to train on in {home}", soft_wrap=True)
    if kept:
        counts = f"{kept.number_of_patients} patients, {len(kept)} slices"
        console.print(f"{counts} kept out of every training, for this site's audits", soft_wrap=True)
    console.print(f"now set the site's name and limits in {policy}", soft_wrap=True)
    console.print(
        f"public key, for the peers' site.yaml where noise is shared: {_identity(home).public}", soft_wrap=True
    )


def _write_policy(path: Path) -> None:
    """The example to edit, with this hospital's ledger by its absolute place: a home that is copied goes on with it."""
    from cmrfed.site.policy import default_ledger

    example = (configs_folder() / "site" / "example.yaml").read_text()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(example.replace('ledger: ""', f"ledger: {json.dumps(str(default_ledger()))}"))


def _identity(home: Path) -> Any:
    """The site's key: made once, and kept."""
    from cmrfed.privacy.secure_aggregation import Identity

    path = home / "identity.pem"
    return Identity.load(path) if path.exists() else Identity.create(path)


def pretrain(values: Values) -> None:
    _need_clone()
    from simulations.pretraining import pretrained_on_phantom

    path = pretrained_on_phantom(read_stage(RunConfig, {"data": {"sources": {}}, **values}))
    console.print(f"pretrained generator: {path}", soft_wrap=True)


def generate(values: Values) -> None:
    from cmrfed.sampling import generate_volumes
    from cmrfed.shapes import PHASES, VENDORS

    generator, preprocessing = _generator_of(values)
    sampling = read_stage(SamplingConfig, values["sampling"], "sampling")
    masks, out = Path(values["masks"]), Path(values["out"])
    _one_of("vendor", values["vendor"], VENDORS)
    _one_of("phase", values["phase"], PHASES)
    with progress_bar("generating") as progress:
        written = generate_volumes(
            generator, masks, out, values["vendor"], values["phase"], preprocessing, sampling,
            values["seed"], progress,
        )  # fmt: skip
    console.print(f"{len(written)} image and mask pairs in {out.resolve()}", soft_wrap=True)


def _generator_of(values: Values) -> tuple[Any, PreprocessingConfig]:
    """The released generator `model`, or that of `run`, and the grid that it draws on."""
    from cmrfed.updates import load_generator

    if not values["model"]:
        run = _open(values["run"])
        return load_generator(run.folder / "model.safetensors")[0], run.config.preprocessing
    generator, notes = load_generator(Path(values["model"]))
    if "preprocessing" not in notes:
        raise UserError(f"{values['model']}: does not say its grid; give a released model, or its run as run=FOLDER")
    return generator, read_stage(PreprocessingConfig, notes["preprocessing"], str(values["model"]))


def release(values: Values) -> None:
    from cmrfed.release import ReleasePolicy
    from cmrfed.release import release as write_release
    from cmrfed.report.material import read_material

    policy = read_stage(ReleasePolicy, values["policy"], "policy")
    folder = write_release(read_material(_open(values["run"]), False), policy, Path(values["out"]))
    console.print(f"release: {folder}; read README.md and TERMS.md before you give it away", soft_wrap=True)


def evaluate(values: Values) -> None:
    config = read_stage(EvaluationConfig, values["evaluation"], "evaluation")
    _evaluate_run(_of_folder(values, config) if values["images"] else _open(values["run"]), config)


def _of_folder(values: Values, evaluation: EvaluationConfig) -> Any:
    """A new run about somebody else's images, against the patients of `data` or, without it, of `run`."""
    from cmrfed.evaluation.folder import Reference, lay_out_folder

    out, members = Path(values["out"]), values["members"]
    if "data" in values:
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

    _done(write_report(_open(values["run"]), values["show_real_images"]))


def compare(values: Values) -> None:
    from cmrfed.report import write_comparison

    page = write_comparison([_open(name) for name in values["run"]], Path(values["out"]))
    console.print(f"comparison: {page.resolve()}", soft_wrap=True)


def _evaluate_run(run: Any, config: EvaluationConfig) -> None:
    from cmrfed import evaluation
    from cmrfed.report import write_report

    evaluation.evaluate(run, config, progress_bar)
    _done(write_report(run, config.show_real_images))


def _need_clone() -> None:
    """The Flower apps are not in the wheel, where their names would collide with other packages'."""
    if importlib.util.find_spec("simulations") is None:
        raise UserError("this command runs from a clone of the repository: pip install --editable . there")


def _open(folder: str) -> Any:
    from cmrfed.runs import Run

    return Run.open(Path(folder))


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{key}: unknown {key} {value!r}; allowed are {', '.join(allowed)}")


def _done(report: Path) -> None:
    console.print(f"report: {report}", soft_wrap=True)
