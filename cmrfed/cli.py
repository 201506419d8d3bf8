"""`cmrfed COMMAND [Hydra overrides]`: a Hydra config for each command, and one plain line for what a user can mend."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from cmrfed import __version__
from cmrfed.config import (
    DataConfig,
    EvaluationConfig,
    PreprocessingConfig,
    RunConfig,
    SamplingConfig,
    UserError,
    read_stage,
)
from cmrfed.console import console, errors, progress_bar

_COMMANDS = {
    "simulate": "the whole federation on one machine, from volumes to report.html",
    "prepare": "read and prepare a hospital's own volumes into its home folder",
    "pretrain": "train a generator on the built-in phantom; public, costs no privacy",
    "generate": "synthetic images for a folder of masks, as NIfTI pairs",
    "evaluate": "measure fidelity, utility and leakage of a run",
    "report": "write report.html again from a run's results",
}
_USAGE = "\n".join(
    [
        f"cmrfed {__version__}: one generator of synthetic cardiac MRI, trained by many hospitals, private by patient.",
        "",
        "  cmrfed COMMAND [key=value ...]",
        "",
        *(f"  {name:<10} {what}" for name, what in _COMMANDS.items()),
        "",
        "cmrfed COMMAND --help lists the keys; --cfg job prints the composed configuration; -m sweeps over values.",
    ]
)


def main() -> None:
    """Entry point of the console script."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("--help", "-h", "help"):
        console.print(_USAGE, markup=False)
    elif command == "--version":
        console.print(__version__)
    elif command in _COMMANDS:
        sys.argv = [f"cmrfed {command}", *sys.argv[2:]]
        _hydra_main(command, globals()[f"_{command}"])
    else:
        errors.print(f"cmrfed: no command {command!r}; commands are {', '.join(_COMMANDS)}", markup=False)
        sys.exit(2)


def _hydra_main(command: str, task: Callable[[DictConfig], None]) -> None:
    """Let Hydra compose the command's config and call the task; a UserError becomes one line and exit code 2."""

    def run(config: DictConfig) -> None:
        try:
            task(config)
        except UserError as error:
            errors.print(f"cmrfed {command}: {error}", style="red", markup=False)
            sys.exit(2)
        except KeyboardInterrupt:
            errors.print(f"cmrfed {command}: interrupted; finished rounds are kept (resume=RUN goes on)")
            sys.exit(130)

    hydra.main(version_base="1.3", config_path=str(_configs()), config_name=command)(run)()


def _configs() -> Path:
    """The configs beside the package in a clone, or inside it in a wheel."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package.parent / "configs", package / "configs") if folder.is_dir())


def _simulate(config: DictConfig) -> None:
    _need_clone()
    from simulations.simulate import resume, simulate

    values = _plain(config)
    out, resumed = Path(values.pop("out")), values.pop("resume")
    run = resume(_open(resumed)) if resumed else simulate(read_stage(RunConfig, values), out)
    _evaluate_run(run, run.config.evaluation)


def _prepare(config: DictConfig) -> None:
    from cmrfed.preparation import read_slices

    values = _plain(config)
    data = read_stage(DataConfig, values["data"], "data")
    with progress_bar("reading and preparing cases") as progress:
        slices = read_slices(data, read_stage(PreprocessingConfig, values["preprocessing"], "preprocessing"), progress)
    home = Path(values["home"]).expanduser().resolve()
    slices.save(home / "slices.safetensors")
    policy = home / "site.yaml"
    if not policy.exists():
        policy.write_text((_configs() / "site" / "example.yaml").read_text())
    console.print(f"{slices.number_of_patients} patients, {len(slices)} slices in {home}", soft_wrap=True)
    console.print(f"now set the site's name and limits in {policy}", soft_wrap=True)


def _pretrain(config: DictConfig) -> None:
    _need_clone()
    from simulations.pretraining import pretrained_on_phantom

    values = _plain(config)
    path = pretrained_on_phantom(read_stage(RunConfig, {"data": {"sources": {}}, **values}))
    console.print(f"pretrained generator: {path}", soft_wrap=True)


def _generate(config: DictConfig) -> None:
    from cmrfed.sampling import generate_volumes
    from cmrfed.shapes import PHASES, VENDORS
    from cmrfed.updates import load_generator

    values = _plain(config)
    run = _open(values["run"])
    generator, _ = load_generator(run.folder / "model.safetensors")
    sampling = read_stage(SamplingConfig, values["sampling"], "sampling")
    masks, out = Path(values["masks"]), Path(values["out"])
    _one_of("vendor", values["vendor"], VENDORS)
    _one_of("phase", values["phase"], PHASES)
    with progress_bar("generating") as progress:
        written = generate_volumes(
            generator, masks, out, values["vendor"], values["phase"], run.config.preprocessing, sampling,
            values["seed"], progress,
        )  # fmt: skip
    console.print(f"{len(written)} image and mask pairs in {out.resolve()}", soft_wrap=True)


def _evaluate(config: DictConfig) -> None:
    values = _plain(config)
    _evaluate_run(_open(values["run"]), read_stage(EvaluationConfig, values["evaluation"], "evaluation"))


def _report(config: DictConfig) -> None:
    from cmrfed.report import write_report

    values = _plain(config)
    _done(write_report(_open(values["run"]), values["show_real_images"]))


def _evaluate_run(run: Any, config: EvaluationConfig) -> None:
    from cmrfed.evaluation import evaluate
    from cmrfed.report import write_report

    evaluate(run, config, progress_bar)
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


def _plain(config: DictConfig) -> dict[str, Any]:
    """The composed config as plain values. Raises UserError naming a value that was left open."""
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"config: {missing[0]} has no value; give {missing[0]}=VALUE")
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except Exception as error:  # OmegaConf's interpolation errors share no public base
        raise UserError(f"config: {' '.join(str(error).split())}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


if __name__ == "__main__":
    main()
