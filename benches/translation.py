"""What a segmenter that learnt from one scanner's patients gains on another's, once their images have its look.

A segmenter learns from real Siemens patients; it is tested on real Philips patients as they were scanned, and as each
family translates them, who is told of no mask:

- `direct_flow` learns from phantoms in two looks to go from one to the other, and goes to the style that fits Siemens
  patients best, found through the frozen generator;
- `reference_adaptation` learns from phantoms and then from the Siemens patients, and draws by the Philips image.

    python -m benches.translation --data DATA --store STORE --segmenters 3
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from benches.phantom import groups, halves, read_real
from benches.styles import best_style
from cmrfed.comparison.plan import family_config
from cmrfed.composition import option
from cmrfed.conditions import UNKNOWN, UNLABELLED, VENDORS
from cmrfed.config import RunConfig, SamplingConfig
from cmrfed.console import console, progress_bar
from cmrfed.evaluation.utility.metrics import TrainingSet, predict, stack_scores, train_segmenter
from cmrfed.generators import Denoiser, Generator, build_generator
from cmrfed.preparation import phantom_stream
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices
from cmrfed.statistics import bootstrap_mean_interval
from cmrfed.training import Patients, pretrain
from cmrfed.updates import write_weights

STYLE_STEPS = 60


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    real = groups(read_real(options.data, options.store))
    taught, ours = halves(real["mnms Siemens"])
    theirs = real["mnms Philips"]
    shown = {"as scanned": theirs}
    for family, translated in (("direct_flow", _direct), ("reference_adaptation", _adapted)):
        if family in options.families:
            shown[family] = translated(_pretrained(family, options), taught, theirs, options)
            _keep_pictures(options.pictures, family, theirs, shown[family])
    dice = _dice(taught, shown | {"Siemens": ours}, options)
    found: dict[str, Any] = {name: {"dice": round(float(scores.mean()), 4)} for name, scores in dice.items()}
    for name in options.families:
        gain = dice[name] - dice["as scanned"]
        interval = bootstrap_mean_interval(gain, replicates=2000, seed=0)
        found[name]["gain"] = [round(float(one), 4) for one in (gain.mean(), *interval)]
        found[name]["patients who gain"] = f"{int((gain > 0).sum())} of {len(gain)}"
    console.print(json.dumps(found, indent=2), markup=False, highlight=False)


def _config(family: str, options: argparse.Namespace) -> RunConfig:
    """The preset, from phantoms in two looks; `pretraining.steps` as asked."""
    config = RunConfig(data={"root": ".", "sources": {}}, seed=options.seed, pretraining={"steps": options.steps})
    return family_config(config, option("generator", family))


def _pretrained(family: str, options: argparse.Namespace) -> Generator:
    """The family, taught by phantoms; each heart's slices are used again, since hearts come slowly."""
    config = _config(family, options)
    generator = build_generator(config.generator, options.seed)
    hearts: Patients = partial(phantom_stream, options.seed, config.preprocessing, config.pretraining.label_noise_mm)
    return _taught(generator, hearts, config, f"{family}, on phantoms")


def _taught(generator: Generator, patients: Patients, config: RunConfig, what: str) -> Generator:
    settings = config.pretraining.model_copy(update={"uses": 8})
    with progress_bar(f"training {what}") as progress:
        found = pretrain(generator, patients, settings, config.training, config.seed, progress=progress)
    write_weights(generator, found.weights)
    return generator.eval()


def _direct(generator: Generator, taught: Slices, theirs: Slices, options: argparse.Namespace) -> Slices:
    """From each image to the style of the scanner that the segmenter knows."""
    assert isinstance(generator, Denoiser)
    style = best_style(generator, taught, STYLE_STEPS, options.seed).numpy()
    return _translated(generator, theirs, {"style": np.tile(style, (len(theirs), 1))}, options)


def _adapted(generator: Generator, taught: Slices, theirs: Slices, options: argparse.Namespace) -> Slices:
    """Drawn by a generator that has learnt of the segmenter's scanner, with each image as the reference."""
    config = _config("reference_adaptation", options)

    def patients(first: int) -> Iterator[Slices]:
        rounds = (np.random.default_rng([options.seed, round]).permutation(taught.patient_names) for round in count())
        yield from (taught.subset([name]) for name in chain.from_iterable(rounds))

    _taught(generator, patients, config, "reference_adaptation, on Siemens patients")  # type: ignore[arg-type]
    siemens = np.full(len(theirs), VENDORS.index("Siemens"))
    return _translated(generator, theirs, {"vendor": siemens}, options)


def _translated(generator: Generator, theirs: Slices, told: dict[str, Any], options: argparse.Namespace) -> Slices:
    """Their images as sources, and of their masks nothing."""
    masks = np.full(np.asarray(theirs.masks).shape, UNLABELLED, np.uint8)
    unknown = {"vendor": np.full(len(theirs), VENDORS.index(UNKNOWN))}
    conditions = dict(theirs.conditions) | unknown | told
    asked = replace(theirs, masks=masks, conditions=conditions, sources=np.asarray(theirs.images))
    with progress_bar("translating") as progress:
        drawn = synthesise(generator, asked, SamplingConfig(), options.seed, progress=progress)
    return replace(theirs, images=drawn.images)


def _dice(taught: Slices, tested: dict[str, Slices], options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Every tested patient's mean Dice, averaged over trainings."""
    scores: dict[str, list[np.ndarray]] = {name: [] for name in tested}
    for seed in range(options.seed, options.seed + options.segmenters):
        with progress_bar(f"training a segmenter on Siemens patients, seed {seed}") as progress:
            network = train_segmenter(TrainingSet((taught,)), options.training_steps, seed, progress=progress)
        for name, slices in tested.items():
            scores[name].append(stack_scores(predict(network, slices), slices).by_patient("dice")[:, -1])
    return {name: np.mean(found, axis=0) for name, found in scores.items()}


def _keep_pictures(folder: Path | None, family: str, theirs: Slices, translated: Slices) -> None:
    """Some images above, and below them what was made of them; for whoever may look at these patients."""
    if folder is None:
        return
    from PIL import Image

    rows = np.linspace(0, len(theirs) - 1, 12).astype(int)
    pairs = [np.hstack([np.asarray(slices.images)[row] for row in rows]) for slices in (theirs, translated)]
    grey = ((np.vstack(pairs).clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).save(folder / f"{family}.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    families: Sequence[str] = ("direct_flow", "reference_adaptation")
    parser.add_argument("--families", nargs="+", choices=families, default=list(families))
    parser.add_argument("--steps", type=int, default=1500, help="training steps of each generator, on each of its data")
    parser.add_argument("--training-steps", type=int, default=400, help="of every segmenter")
    parser.add_argument("--segmenters", type=int, default=3, help="trainings over which scores are averaged")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of real patients: never to be given away")
    parser.add_argument("--seed", type=int, default=0, help="decides hearts and trainings")
    return parser.parse_args()


if __name__ == "__main__":
    main()
