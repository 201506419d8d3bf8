"""A start trained further on public patients: what `cmrfed finetune` does, before any hospital is asked for anything.

Phantoms teach what physics knows. What else there is in real images takes real patients, and of those some are public.
Whoever is in a start has no privacy to lose by it, and nobody else's is spent. A start remembers its patients by
digests of their images, so that no run takes them for private ones or is tested on them.
"""

import json
from collections.abc import Generator as Stream
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from cmrfed.cache import cache_folder
from cmrfed.config import FinetuningConfig, PretrainingConfig, RunConfig, UserError
from cmrfed.console import console, if_interrupted, progress_bar
from cmrfed.federation.start import (
    PHANTOM,
    PUBLIC_SLICES,
    initial_weights,
    make_directions,
    refuse_unusable_start,
    start_notes,
)
from cmrfed.foundation import FOUNDATION, is_foundation
from cmrfed.generators import Denoiser, Generator, build_generator
from cmrfed.generators.directions import NAME as DIRECTIONS
from cmrfed.preparation import refuse_missing_folders
from cmrfed.runs import prepared_slices
from cmrfed.site.request import digest
from cmrfed.slices import Slices, slice_digests, split_one_by_one
from cmrfed.training import Patients, Pretrained, pretrain, steps_kept, validation_losses
from cmrfed.updates import Weights, load_arrays, read_weights, sampling_notes, save_generator, write_weights


@dataclass(frozen=True)
class Finetuned:
    """A generator with its new weights, its directions among them. patients: by whom it was taught. losses: of those
    held out, before and after; None where nobody was."""

    generator: Generator
    patients: Slices
    trained: Pretrained
    told: dict[str, object]
    losses: tuple[float, float] | None


def is_finetuned(path: Path) -> bool:
    """Whether a file is one that `save_finetuned` wrote."""
    try:
        return PUBLIC_SLICES in load_arrays(path)[1]
    except UserError:
        return False


def finetune(config: RunConfig, settings: FinetuningConfig) -> Finetuned:
    """Train the start that `generator.init` names on the patients of `data`; goes on where it was interrupted.

    Raises UserError where there is no such start, or there are too few patients to hold one out.
    """
    refuse_unusable_start(config)
    _refuse_private_start(config)
    refuse_missing_folders(config.data)
    slices = prepared_slices(config, cache_folder())
    taught, held_out = _divided(slices, settings.held_out_fraction, config.seed)
    start, told = initial_weights(_of_all_weights(config))
    trained = _trained(start, taught, config, settings)
    losses = (_loss(start, held_out, config), _loss(trained.weights, held_out, config)) if held_out else None
    generator = build_generator(config.generator, seed=0)
    write_weights(generator, trained.weights)
    if isinstance(generator, Denoiser) and generator.directions:
        found = make_directions(config, trained.weights, config.generator.directions, partial(_again, taught, 0))
        write_weights(generator, {DIRECTIONS: found})
    return Finetuned(generator, taught, trained, told, losses)


def save_finetuned(path: Path, found: Finetuned, config: RunConfig, settings: FinetuningConfig) -> None:
    """Write the start, with all that is told of it and the digests of its patients' slices."""
    told, names = found.told, ", ".join(sorted({record.dataset for record in found.patients.records}))
    number = found.patients.number_of_patients
    before = start_notes(config).get(PUBLIC_SLICES, [])
    notes = {
        "data": f"{told['data']}. Then {number} public patients of {names}",
        "public_patients": number + int(str(told.get("public_patients", 0))),
        "slices": found.trained.slices,
        "steps": len(found.trained.losses),
        "minutes": round(found.trained.seconds_s / 60, 1),
        "held_out_losses": found.losses,
        "finetuning": settings.model_dump(mode="json"),
        "seed": config.seed,
    }
    public = sorted({*before, *slice_digests(found.patients)})  # type: ignore[misc]
    weights = read_weights(found.generator)
    save_generator(
        path, found.generator, weights, pretraining=notes, **{PUBLIC_SLICES: public}, **sampling_notes(config)
    )


def _refuse_private_start(config: RunConfig) -> None:
    path = config.generator.init
    if path in (None, PHANTOM, FOUNDATION) or is_foundation(Path(str(path))) or is_finetuned(Path(str(path))):
        return
    raise UserError(
        f"generator.init: {path} is no public start; begin from {FOUNDATION}, {PHANTOM}, or what cmrfed pretrain or "
        "cmrfed finetune wrote"
    )


def _divided(slices: Slices, fraction: float, seed: int) -> tuple[Slices, Slices | None]:
    if not fraction:
        return slices, None
    taught, held_out = split_one_by_one(slices.records, fraction, seed)
    return slices.subset(taught), slices.subset(held_out)


def _of_all_weights(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"generator": config.generator.model_copy(update={"trainable": "all"})})


def _trained(start: Weights, taught: Slices, config: RunConfig, settings: FinetuningConfig) -> Pretrained:
    generator = build_generator(_of_all_weights(config).generator, config.seed)
    write_weights(generator, start)
    described = json.dumps([settings.model_dump(), config.seed, sorted(slice_digests(taught))])
    checkpoint = cache_folder() / "finetuned" / f"{digest(described, start)[:20]}.partial"
    if kept := steps_kept(checkpoint):
        console.print(f"  finetuning: goes on after {kept} of {settings.steps} steps")
    of_pretraining = PretrainingConfig(**settings.model_dump(exclude={"held_out_fraction"}))
    with (
        if_interrupted(lambda: f"{steps_kept(checkpoint)} of {settings.steps} steps are kept for the next try"),
        progress_bar("finetuning on public patients") as progress,
    ):
        patients: Patients = partial(_again, taught, config.seed)
        found = pretrain(generator, patients, of_pretraining, config.training, config.seed, checkpoint, progress)
    checkpoint.unlink(missing_ok=True)
    return found


def _again(slices: Slices, seed: int, first: int) -> Stream[Slices, None, None]:
    """Patients without end, from number `first` on: everybody once, in an order drawn anew each time, then again."""
    yield from (slices.subset([slices.records[one].patient]) for one in _order(slices.number_of_patients, seed, first))


def _order(patients: int, seed: int, first: int) -> Iterator[int]:
    for turn in count(first // patients):
        drawn = np.random.default_rng([seed, turn]).permutation(patients).tolist()
        yield from drawn[first % patients if turn == first // patients else 0 :]


def _loss(weights: Weights, held_out: Slices, config: RunConfig) -> float:
    generator = build_generator(_of_all_weights(config).generator, seed=0)
    write_weights(generator, weights)
    losses = validation_losses(generator, held_out, config.training, config.seed)
    return sum(losses.values()) / len(losses)
