"""Which runs a comparison has, and how long each family may train."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmrfed.comparison.speed import Speed
from cmrfed.config import ComparisonConfig, GeneratorConfig, RunConfig, Stage, UserError
from cmrfed.launching import PlannedRun, planned_folder, with_values

START, WITHOUT_PRIVACY, PRIVATE = "epsilon_0", "non_private", "private"
ARMS = {
    START: "phantoms alone",
    WITHOUT_PRIVACY: "patients, without privacy",
    PRIVATE: "patients, with privacy",
}
"""What each family is trained in, by the arm of a run."""


class ComparedRun(PlannedRun):
    """family: a name in `configs/generator`. arms: those of the run that are measured."""

    family: str
    arms: tuple[str, ...]
    config: RunConfig


class ComparisonRecord(Stage):
    """comparison.json: what the folder's runs were planned from. How they are launched decides nothing of them;
    families and private runs may be added, or left for later."""

    config: RunConfig
    comparison: ComparisonConfig


def family_config(config: RunConfig, preset: Mapping[str, Any]) -> RunConfig:
    """The run with a family's preset, over which lies whatever of the run's own generator is not a default.

    Every family learns in public first, for the foundation, which only the flow has, would be a head start; and then by
    all of its weights, unless its preset says by which. `preset`: as its YAML has it, a generator's keys, or several
    stages.
    """
    stages = dict(preset) if "generator" in preset else {"generator": preset}
    own = config.generator.model_dump(exclude_defaults=True)
    generator = {"trainable": "all", "init": "phantom", **stages["generator"], **own}
    bare = config.model_copy(update={"generator": GeneratorConfig()})
    return with_values(bare, {**stages, "generator": generator})


def with_budget(config: RunConfig, comparison: ComparisonConfig, speed: Speed) -> RunConfig:
    """As many steps of pretraining as fit in the time, where there is one."""
    if comparison.seconds is None:
        return config
    steps = max(1, round(comparison.seconds / speed.pretraining_step_s))
    return config.model_copy(update={"pretraining": config.pretraining.model_copy(update={"steps": steps})})


def compared_runs(
    family: str,
    config: RunConfig,
    comparison: ComparisonConfig,
    speed: Speed,
    without_privacy: Mapping[str, Any],
) -> list[ComparedRun]:
    """A family's runs: without privacy, for the same time again; and with it, by the same plan as all others.

    config: of the family. `without_privacy`: values by stage that recipe=none sets.
    """
    budgeted = with_budget(config, comparison, speed)
    plain = with_values(budgeted, _but_whose_weights(without_privacy))
    if comparison.seconds is not None:
        rounds = plain.federation.rounds
        steps = max(1, round(comparison.seconds / (rounds * speed.step_s)))
        plain = plain.model_copy(update={"training": plain.training.model_copy(update={"local_steps": steps})})
    runs = [_run(family, plain, (START, WITHOUT_PRIVACY))]
    if comparison.private:
        runs.append(_run(family, budgeted, (PRIVATE,)))
    return runs


def in_order(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """Those first that make a family's public start, which its private run then finds, and need not make beside it."""
    return sorted(runs, key=lambda one: START not in one.arms)


def _run(family: str, config: RunConfig, arms: tuple[str, ...]) -> ComparedRun:
    measured = "all" if START in arms else "own"
    own = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"arms": measured})})
    return ComparedRun(name=f"{family}_{arms[-1]}", family=family, arms=arms, config=own)


def _but_whose_weights(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What a recipe sets, but for which weights are trained: a family's own matter."""
    kept = {name: value for name, value in values.get("generator", {}).items() if name != "trainable"}
    return {**values, "generator": kept}


def open_folder(folder: Path, config: RunConfig, comparison: ComparisonConfig) -> Path:
    """A new comparison's folder, or that of this very one, to go on with.

    Raises UserError where nothing would be measured, and where the folder holds another one.
    """
    if config.evaluation.utility is None or config.evaluation.fidelity is None:
        raise UserError("evaluation: fidelity and utility are what families are compared by; leave both as they are")
    if comparison.private and config.privacy.mode == "none":
        raise UserError(
            "privacy.mode: none has no private run to compare; choose recipe=local, or set comparison.private=false"
        )
    later = {"launcher": "joblib", "jobs": 1, "private": True}
    record = ComparisonRecord(config=config, comparison=comparison.model_copy(update=later))
    return planned_folder(folder, record, "comparison", _README)


_README = """# Families of generators, side by side

- `families.html`: pictures, figure and tables, to open in a browser; `families.json`: the same numbers
- `speeds/`: how fast each family learns and draws on this machine, measured before the runs were planned
- `logs/`: what each run said
- the other folders: the runs, each as `cmrfed simulate` leaves one

Nothing here may be given away: scores are of patients, and computed without noise. The same `cmrfed compare` goes on
with what is missing; more families may be named.
"""
