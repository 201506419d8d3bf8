"""Where an arm's first weights come from: nowhere, public pretraining on the phantom, or another run."""

import hashlib
import json
from contextlib import closing
from pathlib import Path

from cmrfed import __version__
from cmrfed.cache import cache_folder
from cmrfed.config import RunConfig, UserError
from cmrfed.console import console, progress_bar
from cmrfed.datasets.phantom.layout import VERSION as PHANTOM_VERSION
from cmrfed.generators import build_generator
from cmrfed.preparation import phantom_stream
from cmrfed.training import pretrain
from cmrfed.updates import Weights, load_weights, read_weights, save_generator, write_weights

PHANTOM = "phantom"
"""The value of `generator.init` that stands for public pretraining on the phantom."""


def initial_weights(config: RunConfig) -> tuple[Weights, dict[str, object]]:
    """The weights every arm starts from, and what the privacy card says of them.

    Raises UserError when `generator.init` names no usable run.
    """
    generator = build_generator(config.generator, config.seed)
    source = config.generator.init
    if source is None:
        return read_weights(generator), {"data": "none: weights drawn at random"}
    path = pretrained_on_phantom(config) if source == PHANTOM else _model_of(Path(source))
    weights, notes = load_weights(path)
    write_weights(generator, weights)  # refuses weights of another network before hours are spent
    return read_weights(generator), dict(notes.get("pretraining") or {"data": f"the run at {source}"})  # type: ignore[call-overload]


def pretrained_on_phantom(config: RunConfig) -> Path:
    """The generator pretrained on the generic phantom, from the cache or trained now."""
    cached = cache_folder() / "pretrained" / f"{_cache_key(config)}.safetensors"
    if cached.exists():
        console.print(f"  pretraining: found {cached}", soft_wrap=True)
        return cached
    generator = build_generator(config.generator.model_copy(update={"trainable": "all", "init": None}), config.seed)
    with progress_bar("pretraining on the phantom") as progress:
        hearts = phantom_stream(config.seed, config.preprocessing, config.pretraining.label_noise_mm)
        with closing(hearts):
            found = pretrain(generator, hearts, config.pretraining, config.training, config.seed, progress)
    notes = {
        "data": f"the built-in phantom, version {PHANTOM_VERSION}: randomised styles, every heart once; no patient",
        "hearts": found.patients,
        "slices": found.slices,
        "steps": len(found.losses),
        "minutes": round(found.seconds_s / 60, 1),
        "waited_share": round(found.waited_s / found.seconds_s, 3),
        "loss": found.losses[:: max(1, len(found.losses) // 200)],
    }
    cached.parent.mkdir(parents=True, exist_ok=True)
    save_generator(cached, generator, found.weights, pretraining=notes)
    return cached


def _model_of(run: Path) -> Path:
    model = run if run.is_file() else run / "model.safetensors"
    if not model.exists():
        raise UserError(f"generator.init: {run} holds no model.safetensors; give a finished run, or {PHANTOM!r}")
    return model


def _cache_key(config: RunConfig) -> str:
    """Everything that decides the pretrained weights."""
    generator = config.generator.model_dump(exclude={"init", "trainable"})
    parts = [
        __version__,
        PHANTOM_VERSION,
        config.seed,
        generator,
        config.pretraining.model_dump(),
        config.preprocessing.model_dump(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
