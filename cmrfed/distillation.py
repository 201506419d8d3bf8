"""A generator of few steps from one of many: what `cmrfed distill` does, for masks of phantoms and no patient."""

import json
from functools import partial

from cmrfed.cache import cache_folder
from cmrfed.config import (
    DistillationConfig,
    PreprocessingConfig,
    PretrainingConfig,
    SamplingConfig,
    TrainingConfig,
    UserError,
)
from cmrfed.console import console, if_interrupted, progress_bar
from cmrfed.generators import Denoiser, Generator, build_generator
from cmrfed.preparation import phantom_stream
from cmrfed.site.request import digest
from cmrfed.training import FewSteps, pretrain, steps_kept
from cmrfed.updates import Weights, read_weights, write_weights


def distil(
    teacher: Generator,
    preprocessing: PreprocessingConfig,
    sampling: SamplingConfig,
    config: DistillationConfig,
    training: TrainingConfig,
    seed: int,
) -> Weights:
    """The weights with which the teacher's network draws in `config.steps` what it now draws in `sampling.steps`.

    Interrupted, it goes on from a checkpoint in the cache to the same weights. Raises UserError for a generator that
    takes no steps, or no more than that.
    """
    if not isinstance(teacher, Denoiser):
        raise UserError(f"model: a {teacher.config.family} generator draws in one step already")
    if sampling.steps <= config.steps:
        raise UserError(f"distillation.steps: the generator draws in {sampling.steps} already; give fewer")
    student = build_generator(teacher.config.model_copy(update={"trainable": "all", "init": None}), seed=0)
    assert isinstance(student, Denoiser)
    write_weights(student, read_weights(teacher))
    checkpoint = cache_folder() / "distilled" / f"{_key(teacher, preprocessing, sampling, config, seed)}.partial"
    if kept := steps_kept(checkpoint):
        console.print(f"  distillation: goes on after {kept} of {config.updates} updates")
    settings = PretrainingConfig(
        steps=config.updates,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        ema_decay=config.ema_decay,
    )
    hearts = partial(phantom_stream, seed, preprocessing, settings.label_noise_mm)
    lesson = FewSteps(student, teacher, config.steps, sampling, training.precision)
    with (
        if_interrupted(lambda: f"{steps_kept(checkpoint)} of {config.updates} updates are kept for the next try"),
        progress_bar(f"distilling {sampling.steps} steps into {config.steps}") as progress,
    ):
        found = pretrain(student, hearts, settings, training, seed, checkpoint, progress, [lesson])
    checkpoint.unlink(missing_ok=True)
    return found.weights


def _key(
    teacher: Generator,
    preprocessing: PreprocessingConfig,
    sampling: SamplingConfig,
    config: DistillationConfig,
    seed: int,
) -> str:
    """Everything that decides the weights."""
    parts = [seed, *(one.model_dump() for one in (preprocessing, sampling, config))]
    return digest(json.dumps(parts, sort_keys=True), read_weights(teacher))[:20]
