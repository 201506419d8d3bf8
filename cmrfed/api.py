"""What the command line does, for a notebook: `import cmrfed` has these verbs.

A whole experiment, on the built-in phantom; `toy` keeps it to a minute or two, and for a real one is left out, or names
data instead: `cmrfed.configure("data=mnms", "data.root=/data/mnms", "recipe=distributed")`.

>>> import cmrfed
>>> toy = ["data.phantom.patients_per_vendor=6", "data.phantom.vendors=Siemens,GE", "preprocessing.size=16",
...        "generator.channels=8,8", "generator.norm_groups=4", "generator.init=phantom", "generator.directions=8",
...        "pretraining.steps=3", "pretraining.mixed_slices=8", "federation.rounds=1",
...        "federation.engine=inprocess", "federation.largest_start_loss=null",
...        "training.local_steps=2", "privacy.minimum_patients=2", "privacy.declared_patients=5",
...        "evaluation.fidelity=null", "evaluation.utility=null", "evaluation.leakage=null"]
>>> config = cmrfed.configure("recipe=local", "privacy.target_epsilon=3", *toy)
>>> hearts = cmrfed.load_data(config)
>>> run = cmrfed.federate(config)
>>> images = cmrfed.sample(run, hearts.masks[:4], vendor="Siemens", phase="ED")
>>> images.shape
(4, 16, 16)
>>> results = cmrfed.evaluate(run)
>>> round(results.sites["Siemens"].epsilon, 1)
3.0
>>> page = cmrfed.show(mask=hearts.masks[:4], synthetic=images)
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from cmrfed.columns import columns
from cmrfed.composition import compose_jobs, read_job, read_words
from cmrfed.conditions import column_names
from cmrfed.config import EvaluationConfig, PreprocessingConfig, RunConfig, SamplingConfig, UserError, read_stage
from cmrfed.console import progress_bar
from cmrfed.evaluation.schema import Results
from cmrfed.foundation import FOUNDATION, SHIPPED, foundation_generator, is_foundation
from cmrfed.generators import Generator
from cmrfed.keys import nearest
from cmrfed.outputs import output_folder
from cmrfed.pictures import panels
from cmrfed.report import write_report
from cmrfed.runs import Run, interrupted_run, prepared_slices
from cmrfed.runs.evaluation import evaluate as evaluate_run
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices, masks_alone
from cmrfed.updates import load_generator, sampling_notes

ROOM_FOR_A_RUN_BYTES = 512 * 2**20
"""Prepared slices, checkpoints, models and features of a small run; larger cohorts need more."""


_BETWEEN_SLICES_MM = 10.0
"""Of masks that come as arrays; a generator is not told."""


@dataclass(frozen=True)
class Model:
    """A generator, the grid that it draws on, and how it is drawn from."""

    generator: Generator
    preprocessing: PreprocessingConfig
    sampling: SamplingConfig


def configure(*words: str) -> RunConfig:
    """The configuration that `cmrfed simulate` would make of these words, such as "recipe=local" or "seed=3".

    Raises UserError naming the key, what was found and what is allowed.
    """
    for word in words:
        if word.startswith("-"):
            raise UserError(f"{word}: is an option of the command line; here every word is KEY=VALUE")
    given = read_words(words, RunConfig, None)
    (job,) = compose_jobs("simulate", RunConfig, given)
    return read_job(job, RunConfig, given.as_written)


def load_data(config: RunConfig, out: Path | str = "runs") -> Slices:
    """The patients of `config.data`: short-axis slices on the common grid, with their masks and what is known of them.

    `images` are (slice, row, column) in [-1, 1], `masks` likewise with the labels of `cmrfed.shapes.Label`, and
    `conditions` columns by name. They are kept in `out`/prepared/, where `federate` looks for them. Raises UserError,
    naming the file or key, at the first thing that cannot be used.
    """
    return prepared_slices(config, output_folder(out, ROOM_FOR_A_RUN_BYTES))


def federate(config: RunConfig, out: Path | str = "runs", name: str | None = None, resume: bool = False) -> Run:
    """Share the patients out among sites on this machine and train one generator at all of them; the run is kept in
    a new folder of `out`, called after the time and `name`.

    `resume` goes on with the newest run of this very configuration in `out`, if it was cut short. What has been spent
    stays spent. Raises UserError for what can be mended; `run.early_ends()` says of arms that ended early, and why.
    """
    from cmrfed.apps.simulations import simulate as simulation  # Flower, which no other verb waits for

    folder = output_folder(out, ROOM_FOR_A_RUN_BYTES)
    if resume and (cut_short := interrupted_run(config, folder)):
        return simulation.resume(cut_short)
    return simulation.simulate(config, folder, name)


def resume(folder: Path | str) -> Run:
    """Go on with this run from its last whole round; see `federate`."""
    from cmrfed.apps.simulations import simulate as simulation

    run = open_run(folder)
    output_folder(run.folder, key="resume")
    return simulation.resume(run)


def open_run(folder: Path | str) -> Run:
    """A run that was made before, such as "runs/latest". Raises UserError when the folder is none."""
    return Run.open(Path(folder))


def load_model(source: Run | Path | str, arm: str | None = None) -> Model:
    """The generator of a run's arm (its own by default), that in a file, such as a release's model.safetensors, or
    "foundation", the public one that comes with the package.

    Raises UserError where there is none, or a file does not say its grid.
    """
    run = source if isinstance(source, Run) else None
    if arm and not run:
        raise UserError("arm: goes with a run, and a file names one generator already; give one of the two")
    file = SHIPPED if source == FOUNDATION else Path(str(source)).expanduser()
    path = run.model(arm) if run else file
    generator, notes = foundation_generator(path) if is_foundation(path) else load_generator(path)
    known = notes | sampling_notes(run.config) if run else notes
    if "preprocessing" not in known:
        raise UserError(f"{path}: does not say its grid; give its run as run=FOLDER, with arm= for one of its arms")
    preprocessing = read_stage(PreprocessingConfig, known["preprocessing"], str(path))
    return Model(generator, preprocessing, read_stage(SamplingConfig, known.get("sampling", {}), str(path)))


def sample(
    source: Run | Path | str,
    masks: UInt8[np.ndarray, "slice row column"],
    arm: str | None = None,
    seed: int = 0,
    **conditions: object,
) -> Float32[np.ndarray, "slice row column"]:
    """A synthetic image in [-1, 1] for each mask on the generator's grid, as `load_data` has them.

    `source` and `arm` are those of `load_model`. `conditions` by name: one value for all slices, or an array with one
    each; what is not said is unknown. Raises UserError for a name that is no condition's, and for another grid.
    """
    model = load_model(source, arm)
    size = model.preprocessing.size
    if masks.shape[1:] != (size, size):
        raise UserError(f"masks: are of {masks.shape[1:]} pixels, and the generator draws {(size, size)}")
    for name in conditions:
        if name not in column_names():
            likely = nearest(name, column_names())[:1]
            hint = f"; did you mean {likely[0]}?" if likely else f"; there are {', '.join(column_names())}"
            raise UserError(f"{name}: is no condition{hint}")
    pixel_mm = model.preprocessing.field_of_view_mm / size
    asked = masks_alone(np.asarray(masks), columns(len(masks), conditions), (_BETWEEN_SLICES_MM, pixel_mm, pixel_mm))
    return np.asarray(synthesise(model.generator, asked, model.sampling, seed).images)


def evaluate(run: Run, config: EvaluationConfig | None = None) -> Results:
    """Measure what came of a run, its fidelity, usefulness and leakage; writes results.json and report.html into it.

    `config` is the run's own by default. Raises UserError where the run's folder takes no files.
    """
    output_folder(run.folder, key="run")
    chosen = config or run.config.evaluation
    results = evaluate_run(run, chosen, progress_bar)
    write_report(run, chosen.show_real_images)
    return results


def show(**rows: np.ndarray) -> Image.Image:
    """Slices side by side, a row for each name: label maps (unsigned integers) in colours, images (floats in [-1, 1])
    in grey. A notebook shows what is returned; `.save("hearts.png")` keeps it.

    Raises UserError where rows have different numbers of slices, or none.
    """
    if len({len(row) for row in rows.values()}) != 1 or not len(next(iter(rows.values()))):
        raise UserError("show: give rows of as many slices each, such as show(mask=masks[:4], synthetic=images[:4])")
    buffer = io.BytesIO()
    panels(rows).savefig(buffer, format="png")
    return Image.open(buffer)
