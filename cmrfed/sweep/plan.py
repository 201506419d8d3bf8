"""Which runs a sweep has, from its configuration alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmrfed.config import EvaluationConfig, RunConfig, Stage, SweepConfig, UserError
from cmrfed.federation.start import PUBLIC_SLICES, start_notes
from cmrfed.launching import PlannedRun, planned_folder, with_values

WITHOUT_PRIVACY = "without privacy"
REAL, PHANTOM_IMAGES, NO_PATIENT, START = "real", "phantom", "foundation", "start"
"""What runs are compared with: images of the patients themselves, the phantom's own, those of the foundation where the
start is that no longer, since public patients taught it, and those of the start."""


class SweptRun(PlannedRun):
    """arm: what it is a repetition of. epsilon: its budget; None without privacy."""

    arm: str
    epsilon: float | None
    config: RunConfig


class SweepRecord(Stage):
    """sweep.json: what the folder's runs were planned from. How they are launched decides nothing of them, nor does
    whose masks are drawn for afterwards."""

    config: RunConfig
    sweep: SweepConfig


def swept_runs(config: RunConfig, sweep: SweepConfig, without_privacy: Mapping[str, Any]) -> list[SweptRun]:
    """Every run, those of one budget beside each other. `without_privacy`: values by stage that recipe=none sets.

    Raises UserError where one of them is no valid run, or nothing is to be measured.
    """
    if config.evaluation.utility is None:
        raise UserError("evaluation.utility: is null, and usefulness is what a sweep compares; leave it as it is")
    found = [
        SweptRun(
            name=f"{mode}_epsilon={epsilon:g}_noise={noise}",
            arm=f"{mode}, epsilon {epsilon:g}",
            epsilon=epsilon,
            config=_changed(config, {"privacy": {"mode": mode, "target_epsilon": epsilon, "noise_multiplier": None}}),
        )
        for epsilon in sorted(set(sweep.epsilons))
        for mode in dict.fromkeys(sweep.modes)
        for noise in range(1, sweep.noises + 1)
    ]
    if sweep.without_privacy:
        changed = _changed(config, without_privacy)
        found.append(SweptRun(name="without-privacy", arm=WITHOUT_PRIVACY, epsilon=None, config=changed))
    return found


def brackets(config: RunConfig) -> list[str]:
    """By name, those of REAL, PHANTOM_IMAGES, NO_PATIENT and START that this sweep has."""
    taught = [NO_PATIENT] if start_notes(config).get(PUBLIC_SLICES) else []
    return [REAL, PHANTOM_IMAGES, *taught, START]


def _changed(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The run with these values of its stages. What comes of it is measured by the sweep, not by each run."""
    nothing = EvaluationConfig(fidelity=None, utility=None, leakage=None)
    return with_values(config.model_copy(update={"evaluation": nothing}), values)


def open_folder(folder: Path, config: RunConfig, sweep: SweepConfig) -> Path:
    """A new sweep's folder, or that of this very sweep, to go on with.

    Raises UserError where the folder holds another one.
    """
    record = SweepRecord(
        config=config, sweep=sweep.model_copy(update={"launcher": "joblib", "jobs": 1, "masks": "phantom"})
    )
    return planned_folder(folder, record, "sweep", _README)


_README = """# A privacy frontier

- `frontier.html`: the figure and the table of the last command, to open in a browser; `frontier.json`: the same numbers
- `scores/`: what each run's images are worth, patient by patient, by whose masks were drawn for
- `logs/`: what each run said
- the other folders: the runs, each as `cmrfed simulate` leaves one

Nothing here may be given away: scores are of patients, and computed without noise. The same `cmrfed sweep` goes on with
what is missing.
"""
