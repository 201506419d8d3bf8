"""The public start that comes with the package: a generator that was trained on phantoms alone, and holds no patient.

`foundation.safetensors` has its weights in half precision, and in its header all that decides whether they fit: the
phantom's version, the generator, the grid. `foundation.md` beside it is its card. `cmrfed pretrain out=FILE` makes both
again, `pretraining.steps` and all.
"""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmrfed import __version__
from cmrfed.config import GeneratorConfig, PreprocessingConfig, RunConfig, UserError, read_stage
from cmrfed.generators import Generator, build_generator
from cmrfed.generators.directions import NAME as DIRECTIONS
from cmrfed.phantom.layout import VERSION as PHANTOM_VERSION
from cmrfed.updates import Weights, load_arrays, save_weights, write_weights

FOUNDATION = "foundation"
"""The value of `generator.init`, and of a model to draw from, that stands for what comes with the package."""
SHIPPED = Path(__file__).with_name("foundation.safetensors")
LARGEST_BYTES = 16 * 2**20
"""Of the shipped file."""

_FREE = {"init", "trainable", "directions", "condition_dropout", "label_dropout"}
"""Keys of the generator that say nothing of what its weights are."""


def save_foundation(path: Path, config: RunConfig, weights: Weights, notes: object) -> None:
    """Write weights in half precision, and the directions that come with them, with all that they are of. `notes` tell
    of their training."""
    halves = {name: _in_half(name, array) for name, array in weights.items()}
    about = {
        "generator": config.generator.model_dump(mode="json"),
        "preprocessing": config.preprocessing.model_dump(mode="json"),
        "phantom": PHANTOM_VERSION,
        "cmrfed": __version__,
        "made_by": {"seed": config.seed, **config.pretraining.model_dump(mode="json")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "pretraining": notes,
    }
    save_weights(path, halves, about)


def _in_half(name: str, array: np.ndarray) -> np.ndarray:
    """In half precision; of directions those that it can hold: the flattest of an untrained network are too long."""
    if name == DIRECTIONS:
        array = array[:, np.abs(array).max(axis=0, initial=0.0) < np.finfo(np.float16).max]
    return array.astype(np.float16)


def card_of(path: Path) -> str:
    """What is to be known of a foundation's file, in Markdown."""
    arrays, notes = load_arrays(path)
    about: dict[str, Any] = notes
    directions = arrays[DIRECTIONS].shape[1]
    told, made_by = about["pretraining"], about["made_by"]
    generator = "{family}, {network}; channels {channels}, told {conditions}".format(**about["generator"])
    grid = "{size} x {size} pixels, {field_of_view_mm:g} mm a side".format(**about["preprocessing"])
    words = " ".join(f"pretraining.{key}={value}" for key, value in made_by.items() if key != "seed")
    uses = "once" if made_by["uses"] == 1 else f"{made_by['uses']} times"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"""# {path.name}

A generator of short-axis cardiac MRI, trained on simulated hearts alone. **No patient's image, mask or measure is
in it**, so that training may start from it at no cost of privacy.

| | |
| --- | --- |
| trained on | {told["data"]} |
| hearts | {told["hearts"]:,}; each of their slices is used {uses} |
| steps | {told["steps"]:,} of {made_by["batch_size"]} slices |
| generator | {generator} |
| grid | {grid} |
| directions | {directions}, the steepest of its modulation on such hearts (`generator.trainable=directions`) |
| made with | cmrfed {about["cmrfed"]}; {about["machine"]}; {told["minutes"]:g} minutes |
| made by | `cmrfed pretrain out=FILE seed={made_by["seed"]} generator.directions={directions} {words}` |
| SHA-256 | `{sha256}` |

A run refuses it, in one line, where the phantom's version, the generator or the grid are others. What it is worth is
measured in docs/results.md.
"""


def is_foundation(path: Path) -> bool:
    """Whether a file is one that `save_foundation` wrote."""
    try:
        return "phantom" in load_arrays(path)[1]
    except UserError:
        return False


def load_foundation(config: RunConfig, path: Path = SHIPPED) -> tuple[Weights, dict[str, Any]]:
    """The foundation's weights, its directions among them, and what is told of their training.

    Raises UserError, naming the key, where the run has another generator or grid than they were trained for, and where
    they were trained on another version's phantoms.
    """
    halves, about = load_arrays(path)
    _refuse_other(config, about, path)
    return {name: array.astype(np.float32) for name, array in halves.items()}, dict(about["pretraining"])  # type: ignore[call-overload]


def foundation_generator(path: Path = SHIPPED) -> tuple[Generator, dict[str, object]]:
    """The foundation itself, to be drawn from as it is, and the notes of its file."""
    halves, about = load_arrays(path)
    generator = build_generator(read_stage(GeneratorConfig, about["generator"], where=str(path)), seed=0)
    own = {name: array.astype(np.float32) for name, array in halves.items() if name != DIRECTIONS}
    write_weights(generator, own)
    return generator.eval(), about


def _refuse_other(config: RunConfig, about: dict[str, Any], path: Path) -> None:
    way_out = "leave that key as it is, or train a start for it with generator.init=phantom"
    if about["phantom"] != PHANTOM_VERSION:
        raise UserError(
            f"{path}: was trained on phantoms of version {about['phantom']}, this is version {PHANTOM_VERSION}; make "
            "it again with cmrfed pretrain out=FILE, or choose generator.init=phantom"
        )
    trained = {
        "generator": read_stage(GeneratorConfig, about["generator"], where=str(path)),
        "preprocessing": read_stage(PreprocessingConfig, about["preprocessing"], where=str(path)),
    }
    for part, of in trained.items():
        for key in type(of).model_fields.keys() - (_FREE if part == "generator" else _OF_READING):
            found, own = getattr(getattr(config, part), key), getattr(of, key)
            if found != own:
                raise UserError(
                    f"generator.init: the foundation was trained with {part}.{key}={own} (found {found}); {way_out}"
                )


_OF_READING = {"source_image", "bias_correction", "phases", "central_slices", "unlabelled_centre"}
"""Keys of preprocessing that say which slices are used and how they are found, not what a network sees of one."""
