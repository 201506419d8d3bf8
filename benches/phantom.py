"""How far the phantom carries a segmenter to real patients it was never shown, and how real its images look.

One network is trained on phantom images alone, others on each real set's own images, and, where a generator that was
pretrained on the phantom is given, on the images it draws for those real images' masks, and for the phantoms'; all for
the same steps. They are tested on the same real patients of that set. Real patients are halved once, within set and
pathology: the phantom may be developed while looking at the scores of one half ("development"), and is reported on the
other ("report"); the half that is not tested trains the real network. Kernel distances stand beside their floor: that
of the set's other half.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmrfed.columns import unknown_column
from cmrfed.config import DataConfig, PreprocessingConfig, RunConfig, SamplingConfig
from cmrfed.console import console, progress_bar
from cmrfed.evaluation.fidelity.metrics import PatientFeatures, extract_features, fidelity_scores
from cmrfed.evaluation.subject import thin
from cmrfed.evaluation.utility.metrics import TrainingSet, predict, stack_scores, summarise, train_segmenter
from cmrfed.federation.start import initial_weights
from cmrfed.generators import build_generator
from cmrfed.preparation import Source, phantom_slices
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices, split_patients
from cmrfed.updates import write_weights

HALVES = ("development", "report")
KID_SLICES = 300

Scores = dict[str, Any]


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    pairs = {name: halves(group) for name, group in groups(read_real(options.data, options.store)).items()}
    tested = {name: pair[HALVES.index(options.half)] for name, pair in pairs.items()}
    others = {name: pair[1 - HALVES.index(options.half)] for name, pair in pairs.items()}
    phantom = _phantom(options)
    found = {name: {"patients": slices.number_of_patients} for name, slices in tested.items()}
    for name, scores in _dice({"phantom": phantom}, tested, options).items():
        found[name] |= scores
    if options.real:
        for name, slices in tested.items():
            found[name] |= _dice({"real": others[name]}, {name: slices}, options)[name]
            found[name]["ratio"] = found[name]["phantom"]["mean"] / found[name]["real"]["mean"]
    if options.generator:
        drawn = {name: _drawn(slices, options) for name, slices in others.items()}
        for name, slices in tested.items():
            found[name] |= _dice({"generated": drawn[name]}, {name: slices}, options)[name]
        for name, scores in _dice({"generated, phantom masks": _drawn(phantom, options)}, tested, options).items():
            found[name] |= scores
    if options.kid:
        shown = features(phantom)
        for name, slices in tested.items():
            reference, test = features(others[name]), features(slices)
            found[name]["kid"] = kid(reference, test, shown)
            if options.generator:
                found[name]["kid_generated"] = kid(reference, test, features(drawn[name]))
    console.print(json.dumps(found, indent=2), markup=False, highlight=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=HALVES, default="development", help="the real patients to test on")
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    parser.add_argument("--hearts", type=int, default=300, help="phantom hearts to train on")
    parser.add_argument("--steps", type=int, default=800, help="training steps of every segmenter")
    parser.add_argument("--seeds", type=int, default=1, help="trainings over which scores are averaged")
    parser.add_argument("--seed", type=int, default=0, help="decides hearts and trainings")
    parser.add_argument("--no-kid", dest="kid", action="store_false", help="skip the kernel distances")
    parser.add_argument("--no-real", dest="real", action="store_false", help="skip the networks trained on real images")
    parser.add_argument("--phantom", type=Path, help="slices kept by --save, of another version, say")
    parser.add_argument(
        "--generator",
        help="foundation, or weights by `cmrfed pretrain`: draws for real masks and for phantoms'",
    )
    parser.add_argument("--save", type=Path, help="keep the phantom's slices in this file")
    return parser.parse_args()


def read_real(data: str, store: Path, preprocessing: PreprocessingConfig | None = None) -> Slices:
    """The real patients of mnms/ and acdc/ in a folder, prepared once and kept in a file."""
    sources = DataConfig(root=data, sources={"mnms": "mnms", "acdc": "acdc"})
    with progress_bar("reading real patients") as progress:
        return Source.of(sources, preprocessing or PreprocessingConfig()).slices(store, progress)


def _phantom(options: argparse.Namespace) -> Slices:
    if options.phantom:
        return Slices.load(options.phantom)
    with progress_bar("imaging phantoms") as progress:
        slices = phantom_slices(options.hearts, options.seed, PreprocessingConfig(), progress)
    if options.save:
        slices.save(options.save)
    return slices


def _drawn(slices: Slices, options: argparse.Namespace) -> Slices:
    """The generator's images for these slices' masks, as of no known vendor or style."""
    config = RunConfig(data={"root": ".", "sources": {}}, generator={"init": options.generator})
    generator = build_generator(config.generator, seed=0)
    write_weights(generator, initial_weights(config)[0])
    unknown = slices.conditions | {name: unknown_column(name, len(slices)) for name in ("vendor", "style")}
    with progress_bar("drawing") as progress:
        return synthesise(
            generator, replace(slices, conditions=unknown), SamplingConfig(), options.seed, progress=progress
        )


def groups(real: Slices) -> dict[str, Slices]:
    """Patients by data set and vendor."""
    names: dict[str, list[str]] = {}
    for record in real.records:
        names.setdefault(f"{record.dataset} {record.vendor}", []).append(record.patient)
    return {name: real.subset(patients) for name, patients in sorted(names.items())}


def halves(group: Slices) -> tuple[Slices, Slices]:
    first, second = split_patients(group.records, 0.5, seed=0, strata=("pathology",))
    return group.subset(first), group.subset(second)


def _dice(training: dict[str, Slices], tested: dict[str, Slices], options: argparse.Namespace) -> dict[str, Scores]:
    """Mean Dice over patients of each tested set, by the name of what the network was trained on."""
    ((name, slices),) = training.items()
    runs: dict[str, list[Scores]] = {group: [] for group in tested}
    for seed in range(options.seed, options.seed + options.seeds):
        with progress_bar(f"training a segmenter on {name} images, seed {seed}") as progress:
            network = train_segmenter(TrainingSet((slices,)), options.steps, seed, progress=progress)
        for group, test in tested.items():
            runs[group].append(_score(network, test))
    return {group: {name: _mean(scores)} for group, scores in runs.items()}


def _score(network: torch.nn.Module, test: Slices) -> Scores:
    found = summarise(stack_scores(predict(network, test), test))
    return found["dice"] | {"ci95": found["dice_ci95"]["mean"]}


def _mean(scores: list[Scores]) -> Scores:
    """Means over trainings, and each training's mean Dice."""
    mean = {key: np.mean([one[key] for one in scores], axis=0).round(4).tolist() for key in scores[0]}
    return mean | {"seeds": [round(one["mean"], 4) for one in scores]}


def features(slices: Slices) -> PatientFeatures:
    few = thin(slices, KID_SLICES, seed=0)
    return PatientFeatures(extract_features(few.batch(range(len(few))).images), torch.from_numpy(few.patients))


def kid(reference: PatientFeatures, test: PatientFeatures, shown: PatientFeatures) -> Scores:
    found = fidelity_scores(reference, test, shown)
    return {key: found[key] for key in ("kid", "kid_ci95", "kid_real", "fid", "fid_real", "images")}


if __name__ == "__main__":
    main()
