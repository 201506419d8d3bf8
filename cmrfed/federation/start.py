"""Where an arm's first weights come from, the foundation, public pretraining on the phantom, another run, or nowhere;
and whether they are worth private rounds."""

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np

from cmrfed import __version__
from cmrfed.cache import cache_folder
from cmrfed.config import PreprocessingConfig, PretrainingConfig, RunConfig, UserError, read_stage
from cmrfed.console import console, if_interrupted, progress_bar
from cmrfed.foundation import FOUNDATION, is_foundation, load_foundation
from cmrfed.generators import Denoiser, Generator, build_generator
from cmrfed.generators.directions import NAME as DIRECTIONS
from cmrfed.phantom.layout import VERSION as PHANTOM_VERSION
from cmrfed.preparation import phantom_stream
from cmrfed.site.request import digest
from cmrfed.slices import Slices, slice_digests
from cmrfed.training import (
    Patients,
    Pretrained,
    pretrain,
    public_directions,
    single_pixel_losses,
    steps_kept,
    validation_losses,
)
from cmrfed.training.pretraining import VERSION as PRETRAINING_VERSION
from cmrfed.updates import (
    Weights,
    load_arrays,
    load_generator,
    load_weights,
    read_weights,
    sampling_notes,
    save_generator,
    save_weights,
    write_weights,
)

PHANTOM = "phantom"
"""The value of `generator.init` that stands for public pretraining on the phantom."""
PUBLIC_SLICES = "public_slices"
"""In the notes of a start that public patients taught: digests of their slices."""


def initial_weights(config: RunConfig) -> tuple[Weights, dict[str, object]]:
    """The weights every arm starts from, and what the privacy card says of them.

    Raises UserError when `generator.init` names no usable run.
    """
    generator = build_generator(config.generator, config.seed)
    source = config.generator.init
    if source is None:
        return read_weights(generator), {"data": "none: weights drawn at random"}
    weights, told = _trained_weights(config, source)
    known = weights.pop(DIRECTIONS, None)
    write_weights(generator, weights)  # refuses weights of another network before hours are spent
    if isinstance(generator, Denoiser) and generator.directions:
        write_weights(generator, {DIRECTIONS: _directions(config, weights, known)})
    return read_weights(generator), told


def refuse_unusable_start(config: RunConfig) -> None:
    """Raise UserError where the start that `generator.init` names is missing, is of another network or grid, or leaves
    a part untrained that no round trains; and where the run says how to pretrain, and nothing would be pretrained."""
    source = config.generator.init
    if source is None:
        _refuse_untrained_parts(config)
    elif source != PHANTOM:
        _trained_weights(config, source)
    if source == FOUNDATION and config.pretraining != PretrainingConfig():
        raise UserError(
            "pretraining: generator.init=foundation starts from weights that are trained already, so these keys would "
            "change nothing; choose generator.init=phantom to train a start of your own, or leave them out"
        )


def _refuse_untrained_parts(config: RunConfig) -> None:
    for one in build_generator(config.generator, config.seed).objectives:
        if one.stage is None:
            raise UserError(
                f"generator.init: null leaves at random what {one.name} teaches, in public pretraining alone; choose "
                "generator.init=phantom, or a run's folder"
            )


def refuse_few_rounds(config: RunConfig) -> None:
    """Raise UserError where a part of the generator would have no round to learn in."""
    stages, rounds = build_generator(config.generator, config.seed).stages, config.federation.rounds
    if rounds < stages:
        raise UserError(
            f"federation.rounds: this generator learns one part after the other, in {stages} stages, found {rounds}; "
            "give each at least a round"
        )


def refuse_public_patients(config: RunConfig, slices: Slices) -> None:
    """Raise UserError where a patient is one of those who taught the start: neither private, nor new to it."""
    public = set(start_notes(config).get(PUBLIC_SLICES, []))  # type: ignore[call-overload]
    found = np.isin(slice_digests(slices), list(public)) if public else np.zeros(len(slices), dtype=bool)
    if found.any():
        names = [slices.records[patient].patient for patient in np.unique(slices.patients[found])]
        raise UserError(
            f"generator.init: {config.generator.init} was trained on {len(names)} of these patients, such as "
            f"{names[0]}; leave their data set out of data.sources, or choose another start"
        )


def start_notes(config: RunConfig) -> dict[str, object]:
    """What the file of the start says besides its weights; nothing where the start is no file."""
    source = config.generator.init
    return {} if source in (None, PHANTOM, FOUNDATION) else load_arrays(_model_of(Path(str(source))))[1]


def _trained_weights(config: RunConfig, source: str) -> tuple[Weights, dict[str, object]]:
    if source == FOUNDATION:
        return load_foundation(config)
    path = pretrained_on_phantom(config) if source == PHANTOM else _model_of(Path(source))
    if is_foundation(path):
        return load_foundation(config, path)
    weights, notes = load_weights(path)
    _refuse_another_grid(config, notes, path)
    if DIRECTIONS in weights:
        weights = _straightened(path)
    return weights, dict(notes.get("pretraining") or {"data": f"the run at {source}"})  # type: ignore[call-overload]


def _refuse_another_grid(config: RunConfig, notes: dict[str, object], path: Path) -> None:
    """Weights fit a grid of any size, and know what they were trained on alone."""
    if "preprocessing" not in notes:
        return
    trained = read_stage(PreprocessingConfig, notes["preprocessing"], str(path))
    for key in ("size", "field_of_view_mm", "intensity", "tissue_classes"):
        found, own = getattr(config.preprocessing, key), getattr(trained, key)
        if found != own:
            raise UserError(
                f"generator.init: {path} was trained with preprocessing.{key}={own} (found {found}); leave that key as "
                "it was, or choose another start"
            )


def _straightened(path: Path) -> Weights:
    """The weights of a generator that was moved in directions, where it came to, and these directions."""
    generator, _ = load_generator(path)
    assert isinstance(generator, Denoiser) and generator.directions
    generator.directions.fold(generator.network)
    return {name: array for name, array in read_weights(generator).items() if name != "directions.coordinates"}


def _directions(config: RunConfig, weights: Weights, known: np.ndarray | None) -> np.ndarray:
    """The steepest of those that are known; where there are fewer, those of phantoms, from the cache or made now."""
    count = config.generator.directions
    if known is not None and known.shape[1] >= count:
        return np.ascontiguousarray(known[:, :count])
    key = digest(f"{count} directions, {_cache_key(config)}", weights)[:20]
    cached = cache_folder() / "directions" / f"{key}.safetensors"
    if not cached.exists():
        made = make_directions(config, weights, count)
        if made.shape[1] < count:
            raise UserError(
                f"generator.directions: the network changes what it says in {made.shape[1]} directions of its "
                f"modulation, found {count}; choose as many, or train it for longer first"
            )
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_weights(cached, {DIRECTIONS: made}, {})
    return load_weights(cached)[0][DIRECTIONS]


def make_directions(config: RunConfig, weights: Weights, count: int, patients: Patients | None = None) -> np.ndarray:
    """Up to `count` directions of the modulation of a generator with these weights, from public patients, phantoms
    where no others are given, (weight, direction)."""
    generator = build_generator(config.generator.model_copy(update={"trainable": "modulation"}), config.seed)
    assert isinstance(generator, Denoiser)
    write_weights(generator, weights)
    moved, hearts = list(generator.trained()), patients or _hearts(config)
    with progress_bar("finding public directions") as progress:
        return public_directions(generator, moved, hearts, count, config.seed, config.training.device, progress)


def refuse_poor_start(config: RunConfig, initial: Weights, validation: Slices) -> None:
    """Raise UserError where private rounds would spend epsilon on a start that knows next to nothing.

    Its held-out loss must be at most `federation.largest_start_loss` of that of the best predictor that sees one pixel
    at a time. Weights drawn at random are somebody's choice and pass, as does any start where the key is null.
    """
    largest = config.federation.largest_start_loss
    if config.privacy.mode == "none" or config.generator.init is None or largest is None:
        return
    generator = build_generator(config.generator, config.seed)
    if not isinstance(generator, Denoiser):  # whose loss is none of pixels
        return
    write_weights(generator, initial)
    generator.enter(generator.stages, generator.stages)  # in which the path is learnt
    loss, single_pixel = (
        _mean(losses(generator, validation, config.training, config.seed))
        for losses in (validation_losses, single_pixel_losses)
    )
    console.print(f"  start: held-out loss {loss:.4f}, {loss / single_pixel:.2f} of guessing pixel by pixel")
    if not loss <= largest * single_pixel:  # nor where it is not a number
        raise UserError(
            f"generator.init: the start's held-out loss is {loss:.3f}, more than {largest:g} of the {single_pixel:.3f} "
            "of guessing each pixel by itself: private rounds would spend epsilon on noise. Nothing was spent; "
            "pretrain for longer (pretraining.steps), or begin all the same with federation.largest_start_loss=null"
        )


def pretrained_on_phantom(config: RunConfig) -> Path:
    """The generator pretrained on the generic phantom: from the cache, or trained now."""
    cached = cache_folder() / "pretrained" / f"{_cache_key(config)}.safetensors"
    if cached.exists():
        console.print(f"  pretraining: found {cached}", soft_wrap=True)
        return cached
    generator = build_generator(config.generator.model_copy(update={"trainable": "all", "init": None}), config.seed)
    checkpoint = cached.with_suffix(".partial")
    steps = config.pretraining.steps
    with if_interrupted(lambda: f"{steps_kept(checkpoint)} of {steps} steps of pretraining are kept for the next try"):
        found = _pretrain(generator, config, checkpoint)
    cached.parent.mkdir(parents=True, exist_ok=True)
    save_generator(cached, generator, found.weights, pretraining=_notes(found), **sampling_notes(config))
    checkpoint.unlink(missing_ok=True)
    return cached


def _pretrain(generator: Generator, config: RunConfig, checkpoint: Path) -> Pretrained:
    settings, seed = config.pretraining, config.seed
    if kept := steps_kept(checkpoint):
        console.print(f"  pretraining: goes on after {kept} of {settings.steps} steps")
    with progress_bar("pretraining on the phantom") as progress:
        return pretrain(generator, _hearts(config), settings, config.training, seed, checkpoint, progress)


def _hearts(config: RunConfig) -> Patients:
    return partial(phantom_stream, config.seed, config.preprocessing, config.pretraining.label_noise_mm)


def _notes(found: Pretrained) -> dict[str, object]:
    """What is told of a pretraining, to whoever uses its weights."""
    return {
        "data": f"the built-in phantom, version {PHANTOM_VERSION}: randomised styles; no patient",
        "hearts": found.patients,
        "slices": found.slices,
        "steps": len(found.losses),
        "minutes": round(found.seconds_s / 60, 1),
        "waited_share": round(found.waited_s / found.seconds_s, 3),
        "loss": found.losses[:: max(1, len(found.losses) // 200)],
    }


def _model_of(run: Path) -> Path:
    model = run if run.is_file() else run / "model.safetensors"
    if not model.exists():
        raise UserError(
            f"generator.init: {run} holds no model.safetensors; give a finished run, {FOUNDATION!r} or {PHANTOM!r}"
        )
    return model


def _mean(losses: dict[str, float]) -> float:
    return sum(losses.values()) / len(losses)


def _cache_key(config: RunConfig) -> str:
    """Everything that decides the pretrained weights."""
    generator = config.generator.model_dump(exclude={"init", "trainable", "directions"})
    parts = [
        __version__,
        PHANTOM_VERSION,
        PRETRAINING_VERSION,
        config.seed,
        generator,
        config.pretraining.model_dump(),
        config.preprocessing.model_dump(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
