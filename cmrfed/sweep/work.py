"""One run of a sweep: trained, once; and what its images are worth, patient by patient."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cmrfed.anatomy import everybody, heart_slices
from cmrfed.columns import unknown_column
from cmrfed.conditions import VENDORS
from cmrfed.config import EvaluationConfig, Stage, SweepConfig, VoxelsConfig, read_stage_json
from cmrfed.core import atomic
from cmrfed.core.progress import Progress, ProgressBar
from cmrfed.evaluation.fidelity.metrics import PatientFeatures, extract_features, fidelity_scores
from cmrfed.evaluation.subject import thin
from cmrfed.evaluation.utility.metrics import Budget, TrainingSet, compare_training_sets
from cmrfed.foundation import foundation_generator
from cmrfed.generators import Generator
from cmrfed.outputs import private_folder
from cmrfed.preparation import phantom_slices
from cmrfed.runs import Run, runs_called
from cmrfed.sampling import synthesise
from cmrfed.site import Home
from cmrfed.slices import Slices
from cmrfed.sweep.plan import NO_PATIENT, PHANTOM_IMAGES, REAL, START, SweptRun
from cmrfed.training import choose_device
from cmrfed.updates import load_generator

Federate = Callable[[SweptRun, Path, "Run | None"], Run]
"""Does a run in the sweep's folder, or goes on with the one that was cut short."""
Images = Callable[[Run], Slices]
"""What a segmenter learns from, of a run's patients and start."""


class Scores(Stage):
    """dice: of each held-out patient, the mean over structures. vendors: the patients' own. spent: epsilon by the
    ledgers, at most; None without privacy. kid, kid_floor: of the images, and of other real patients'; None where it
    was not measured."""

    arm: str
    epsilon: float | None
    spent: float | None
    dice: dict[str, float]
    vendors: dict[str, str]
    kid: float | None = None
    kid_floor: float | None = None


def train_run(one: SweptRun, folder: Path, federate: Federate) -> Run:
    """The run, done now unless it is done already."""
    for run in runs_called(one.name, folder):
        return run if run.main_arm() in run.arms() else federate(one, folder, run)
    return federate(one, folder, None)


@dataclass(frozen=True)
class Measure:
    """How a sweep's runs are scored, all of them alike. folder: the sweep's own."""

    folder: Path
    evaluation: EvaluationConfig
    sweep: SweepConfig
    bar: ProgressBar

    def file(self, name: str) -> Path:
        """Where the scores of that name are kept."""
        return private_folder(self.folder / "scores" / f"masks of {self.sweep.masks}") / f"{name}.json"


def score_run(one: SweptRun, measure: Measure, federate: Federate) -> Scores:
    """What the run's generator draws, scored; from the folder where that was done."""

    def score() -> Scores:
        run = train_run(one, measure.folder, federate)
        generator, _ = load_generator(run.model(run.main_arm()))
        found = _scores(one.arm, run, _drawn(run, generator, measure, one.arm), measure)
        return found.model_copy(update={"epsilon": one.epsilon, "spent": _spent(run)})

    return _once(measure.file(one.name), score)


def score_bracket(name: str, run: Run, measure: Measure) -> Scores:
    """The same of what runs are compared with, on this run's patients. Every run of a sweep has the same ones."""
    images: dict[str, Images] = {
        REAL: lambda run: _learnt(run, measure.evaluation),
        PHANTOM_IMAGES: lambda run: _phantom(run, measure),
        NO_PATIENT: lambda run: _drawn(run, foundation_generator()[0], measure, NO_PATIENT),
        START: lambda run: _drawn(run, load_generator(run.model("epsilon_0"))[0], measure, START),
    }
    return _once(measure.file(name), lambda: _scores(name, run, images[name](run), measure))


def _once(path: Path, score: Callable[[], Scores]) -> Scores:
    if not path.exists():
        atomic.write_text(path, score().model_dump_json(indent=2))
    return read_stage_json(Scores, path)


def _learnt(run: Run, evaluation: EvaluationConfig) -> Slices:
    assert evaluation.utility
    return thin(run.train_slices().labelled(), evaluation.utility.slices, run.config.seed)


def _phantom(run: Run, measure: Measure) -> Slices:
    count, config = measure.sweep.hearts, run.config
    draw = partial(phantom_slices, count, config.seed, config.preprocessing)
    return _drawn_once("phantom", "imaging phantoms", draw, run, measure)


def _hearts(run: Run, measure: Measure) -> Slices:
    requests, config = everybody(measure.sweep.hearts), run.config
    draw = partial(heart_slices, requests, VoxelsConfig(), config.preprocessing, config.seed)
    return _drawn_once("hearts", "drawing hearts", draw, run, measure)


def _drawn_once(name: str, doing: str, draw: Callable[[Progress], Slices], run: Run, measure: Measure) -> Slices:
    """For all runs; as many slices as there are real ones to learn from."""
    kept = measure.folder / f"{name}.safetensors"
    if not kept.exists():
        with measure.bar(doing) as progress:
            found = draw(progress)
        found.save(kept)
    return thin(Slices.load(kept), len(_learnt(run, measure.evaluation)), run.config.seed)


def _asked(run: Run, measure: Measure) -> Slices:
    """Whose masks are drawn for. A simulated heart has no vendor: each is drawn as of one that the run's patients have,
    in a look that is not told."""
    if measure.sweep.masks == "patients":
        return _learnt(run, measure.evaluation)
    hearts = (_hearts if measure.sweep.masks == "hearts" else _phantom)(run, measure)
    vendors = sorted({VENDORS.index(one.vendor) for one in run.train_slices().records})
    drawn = np.random.default_rng(run.config.seed).choice(vendors, size=hearts.number_of_patients)
    known = {"vendor": drawn[hearts.patients], "style": unknown_column("style", len(hearts))}
    return replace(hearts, conditions={**hearts.conditions, **known})


def _drawn(run: Run, generator: Generator, measure: Measure, arm: str) -> Slices:
    training = run.config.training
    with measure.bar(f"sampling, {arm}") as progress:
        return synthesise(
            generator, _asked(run, measure), run.config.sampling, run.config.seed, training.device,
            training.precision, progress,
        )  # fmt: skip


def _scores(arm: str, run: Run, images: Slices, measure: Measure) -> Scores:
    evaluation, bar = measure.evaluation, measure.bar
    assert evaluation.utility
    utility, training, tested = evaluation.utility, run.config.training, run.held_out_slices().labelled()
    budget = Budget(
        utility.steps, utility.seeds, run.config.seed, utility.backbones[0], choose_device(training.device),
        training.precision,
    )  # fmt: skip
    with bar(f"training segmenters, {arm}") as progress:
        found = compare_training_sets({arm: TrainingSet((images,))}, tested, budget, progress)[arm].scores
    dice = dict(zip((owner.patient for owner in found.patients), found.by_patient("dice")[:, -1].tolist(), strict=True))
    return Scores(
        arm=arm, epsilon=None, spent=None, dice=dice, vendors={one.patient: one.vendor for one in found.patients},
        **_kernel(run, images, evaluation),
    )  # fmt: skip


def _kernel(run: Run, images: Slices, evaluation: EvaluationConfig) -> dict[str, float | None]:
    if evaluation.fidelity is None:
        return {}
    sets = [run.train_slices(), run.held_out_slices(), images]
    features = [_features(one, evaluation.fidelity.slices, run.config.seed) for one in sets]
    reference, held_out, shown = features
    found = fidelity_scores(reference, held_out, shown)
    named = {"kid": found.get("kid"), "kid_floor": found.get("kid_real")}
    return {name: value if isinstance(value, float) else None for name, value in named.items()}


def _features(slices: Slices, most: int, seed: int) -> PatientFeatures:
    few = thin(slices, most, seed)
    return PatientFeatures(extract_features(few.batch(range(len(few))).images), torch.from_numpy(few.patients))


def _spent(run: Run) -> float | None:
    if not run.record.plan.private:
        return None
    rows = [Home(run.site_home(site)).spent_in(f"{run.record.name}/private") for site in run.sites]
    return float(np.max([spent[-1][1] if spent else 0.0 for spent in rows]))
