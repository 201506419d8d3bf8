"""What is lost between a phantom, a generator taught by it, and that generator's distilled form: a segmenter on
the images of each, for the same phantoms' masks, tested on the same real patients (the report half); and how far the
images of each are from real ones, by the kernel distance.

    python -m benches.few_steps --data DATA --store STORE --distilled FILE

At another size than the foundation's, of a generator that was pretrained at that size:

    cmrfed pretrain out=MODEL preprocessing.size=128 generator.patch=4
    cmrfed distill model=MODEL out=FILE sampling.steps=50
    python -m benches.few_steps --data DATA --store STORE --model MODEL --distilled FILE --all 50 generator.patch=4
        preprocessing.size=128
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benches.phantom import features, groups, halves, kid, read_real
from cmrfed import api
from cmrfed.columns import unknown_column
from cmrfed.config import PreprocessingConfig, RunConfig, SamplingConfig
from cmrfed.console import console, progress_bar
from cmrfed.evaluation.subject import thin
from cmrfed.evaluation.utility.metrics import TrainingSet, predict, stack_scores, train_segmenter
from cmrfed.federation.start import initial_weights
from cmrfed.generators import build_generator
from cmrfed.preparation import phantom_slices
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices
from cmrfed.statistics import bootstrap_mean_interval
from cmrfed.updates import write_weights


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    preprocessing = _config(options.distilled, options).preprocessing
    real = read_real(options.data, options.store, preprocessing)
    pairs = {name: halves(group) for name, group in groups(real).items()}
    shown = _shown(preprocessing, options)
    dice = {name: _dice(name, slices, [test for _, test in pairs.values()], options) for name, slices in shown.items()}
    found: dict[str, Any] = {name: {"dice": round(float(scores.mean()), 4)} for name, scores in dice.items()}
    for name, before in (("all steps", "phantom"), ("few steps", "all steps")):
        difference = dice[name] - dice[before]
        interval = bootstrap_mean_interval(difference, replicates=2000, seed=0)
        found[name][f"above {before}"] = [round(float(one), 4) for one in (difference.mean(), *interval)]
    looks = {name: features(slices) for name, slices in shown.items()}
    for group, (reference, test) in pairs.items():
        real = features(reference), features(test)
        for name, look in looks.items():
            found[name][f"kid, {group}"] = round(kid(*real, look)["kid"], 4)
    console.print(json.dumps(found, indent=2), markup=False, highlight=False)


def _shown(preprocessing: PreprocessingConfig, options: argparse.Namespace) -> dict[str, Slices]:
    """The phantom's own images of some slices, and those that both generators draw for their masks."""
    with progress_bar("imaging phantoms") as progress:
        hearts = phantom_slices(options.hearts, options.seed, preprocessing, progress)
    phantom = thin(hearts, options.slices, seed=options.seed)
    return {
        "phantom": phantom,
        "all steps": _drawn(options.model, options.all, phantom, options),
        "few steps": _drawn(options.distilled, options.few, phantom, options),
    }


def _drawn(model: str, steps: int, slices: Slices, options: argparse.Namespace) -> Slices:
    """As of no known vendor, and of no known style unless it is told."""
    config = _config(model, options)
    generator = build_generator(config.generator, seed=0)
    write_weights(generator, initial_weights(config)[0])
    hidden = ("vendor",) if options.style else ("vendor", "style")
    unknown = slices.conditions | {name: unknown_column(name, len(slices)) for name in hidden}
    with progress_bar(f"drawing in {steps} steps") as progress:
        asked = replace(slices, conditions=unknown)
        return synthesise(generator, asked, SamplingConfig(steps=steps), options.seed, progress=progress)


def _config(model: str, options: argparse.Namespace) -> RunConfig:
    return api.configure(f"generator.init={model}", *options.words)


def _dice(name: str, slices: Slices, tested: list[Slices], options: argparse.Namespace) -> np.ndarray:
    """Every tested patient's mean Dice, averaged over trainings."""
    scores = []
    for seed in range(options.seed, options.seed + options.seeds):
        with progress_bar(f"training a segmenter, {name}, seed {seed}") as progress:
            network = train_segmenter(TrainingSet((slices,)), options.training_steps, seed, progress=progress)
        found = [stack_scores(predict(network, test), test).by_patient("dice")[:, -1] for test in tested]
        scores.append(np.concatenate(found))
    return np.mean(scores, axis=0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    parser.add_argument("words", nargs="*", help="as `cmrfed simulate` takes them: what the generators were told")
    parser.add_argument("--all", type=int, default=20, help="in which the other one draws")
    parser.add_argument("--model", default="foundation", help="the generator that was distilled")
    parser.add_argument("--distilled", required=True, help="what `cmrfed distill` made of it")
    parser.add_argument("--few", type=int, default=2, help="in which the distilled one draws")
    parser.add_argument("--hearts", type=int, default=100, help="phantom hearts whose masks are drawn for")
    parser.add_argument("--slices", type=int, default=600, help="slices of these hearts that are drawn")
    parser.add_argument("--training-steps", type=int, default=400, help="of every segmenter")
    parser.add_argument("--seeds", type=int, default=2, help="trainings over which scores are averaged")
    parser.add_argument("--style", action="store_true", help="tell the generators each phantom's own style")
    parser.add_argument("--seed", type=int, default=0, help="decides hearts and trainings")
    return parser.parse_args()


if __name__ == "__main__":
    main()
