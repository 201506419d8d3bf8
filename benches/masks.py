"""What it costs to draw for masks that are nobody's: a segmenter on a generator's images for patients' masks, for the
phantom's, and for hearts on demand, tested on the same real patients (the report half); patients' masks are those of
the development half.

The last arm bounds what a private model of patients' masks could add: hearts are drawn with other odds, so that on the
mean they are outlined as patients are, by size, place and shape of every structure at each level and phase. These means
are patients' own, without any noise.

    python -m benches.masks --data DATA --store STORE
"""

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.random import Generator, default_rng
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from benches.phantom import groups, halves, read_real
from cmrfed import api
from cmrfed.anatomy import everybody, heart_slices
from cmrfed.columns import unknown_column
from cmrfed.conditions import PHASES
from cmrfed.config import PreprocessingConfig, VoxelsConfig
from cmrfed.console import console, progress_bar
from cmrfed.evaluation.subject import thin
from cmrfed.evaluation.utility.metrics import TrainingSet, predict, stack_scores, train_segmenter
from cmrfed.preparation import phantom_slices
from cmrfed.sampling import synthesise
from cmrfed.shapes import Label
from cmrfed.slices import Slices, concatenate
from cmrfed.statistics import bootstrap_mean_interval

LEVELS = np.linspace(0, 1, 4)
"""From the base to the apex; a slice counts for the two next to it."""
PATIENTS = "patients"
_LEAST_PENALTY = 0.1

Means = Float[np.ndarray, "heart mean"]


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    model = api.load_model(options.model)
    pairs = [halves(group) for group in groups(read_real(options.data, options.store, model.preprocessing)).values()]
    learnt, tested = ([pair[one] for pair in pairs] for one in (0, 1))
    dice = {
        name: _dice(name, _drawn(name, masks, model, options), tested, options)
        for name, masks in _masks(learnt, model.preprocessing, options).items()
    }
    found: dict[str, Any] = {name: {"dice": round(float(scores.mean()), 4)} for name, scores in dice.items()}
    for name in dice.keys() - {PATIENTS}:
        difference = dice[name] - dice[PATIENTS]
        interval = bootstrap_mean_interval(difference, replicates=2000, seed=0)
        found[name]["above patients"] = [round(float(one), 4) for one in (difference.mean(), *interval)]
    console.print(json.dumps(found, indent=2), markup=False, highlight=False)


def _masks(learnt: list[Slices], preprocessing: PreprocessingConfig, options: argparse.Namespace) -> dict[str, Slices]:
    """As many slices of everybody."""
    with progress_bar("drawing hearts") as progress:
        hearts = heart_slices(everybody(options.hearts), VoxelsConfig(), preprocessing, options.seed, progress)
    with progress_bar("imaging phantoms") as progress:
        phantom = phantom_slices(options.slices // 2, options.seed + 1, preprocessing, progress)
    patients = concatenate([thin(group, options.slices // len(learnt), options.seed) for group in learnt])
    rng = default_rng(options.seed)
    return {
        PATIENTS: patients,
        "phantom": thin(phantom, options.slices, options.seed),
        "hearts": _chosen(hearts, np.full(hearts.number_of_patients, 1 / hearts.number_of_patients), rng, options),
    } | {
        f"hearts, as patients are in {count} means": _chosen(hearts, _odds(hearts, learnt, count), rng, options)
        for count in options.means
    }


def _chosen(hearts: Slices, odds: Float[np.ndarray, " heart"], rng: Generator, options: argparse.Namespace) -> Slices:
    """Slices of hearts that are drawn with these odds."""
    chosen = rng.choice(len(odds), options.slices // 2, p=odds)
    rows = np.concatenate([hearts.of_patient(one) for one in chosen])
    return hearts.take(np.sort(rng.choice(rows, options.slices, replace=False)))


def _odds(hearts: Slices, learnt: list[Slices], count: int) -> Float[np.ndarray, " heart"]:
    """Of each heart: those nearest to even ones with which the hearts' first principal components have patients' means
    (maximum entropy, with a penalty where the hearts have no such means)."""
    ours, theirs = _means(hearts), np.concatenate([_means(group) for group in learnt])
    variances, directions = np.linalg.eigh(np.cov(ours.T))
    scaled = directions[:, ::-1][:, :count] / np.sqrt(variances[::-1][:count])
    inner, wanted = (ours - ours.mean(0)) @ scaled, (theirs.mean(0) - ours.mean(0)) @ scaled

    def loss(tilt: np.ndarray) -> tuple[float, np.ndarray]:
        scores = inner @ tilt
        gradient = np.exp(log_softmax(scores)) @ inner - wanted + _LEAST_PENALTY * tilt
        return float(logsumexp(scores) - wanted @ tilt + _LEAST_PENALTY * (tilt**2).sum() / 2), gradient

    return np.exp(log_softmax(inner @ minimize(loss, np.zeros(count), jac=True, method="L-BFGS-B").x))


def _means(slices: Slices) -> Means:
    """Of each heart: the sums of its slices' shapes by level and phase, over the number of slices."""
    shapes = np.stack([_shape(mask) for mask in np.asarray(slices.masks[:])])
    level = np.nan_to_num(np.asarray(slices.conditions["slice_level"]), nan=0.5)
    near = np.clip(1 - np.abs(level[:, None] - LEVELS) * (len(LEVELS) - 1), 0, 1)
    phase = np.asarray(slices.conditions["phase"])
    cells = [near[:, at] * (phase == PHASES.index(name)) for at, name in product(range(len(LEVELS)), ("ED", "ES"))]
    told = np.concatenate([cell[:, None] * shapes for cell in cells], axis=1)
    return np.stack([told[slices.of_patient(one)].mean(0) for one in range(slices.number_of_patients)])


def _shape(mask: np.ndarray) -> Float[np.ndarray, " number"]:
    """Numbers of about the same size: of each structure its radius and area; where the left ventricle is, how drawn out
    and aslant; where the right one lies beside it, and how large it is along rows and columns."""
    rows, columns = (axis / mask.shape[0] - 0.5 for axis in np.mgrid[: mask.shape[0], : mask.shape[1]])
    left, right = np.isin(mask, (Label.LV, Label.MYO)), mask == Label.RV
    radii = [15 * np.sqrt((mask == label).mean()) for label in (Label.LV, Label.MYO, Label.RV)]
    products = [radii[a] * radii[b] / 3 for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2))]
    at = np.array([rows[left].mean(), columns[left].mean()]) if left.any() else np.zeros(2)
    spread = np.cov(rows[left], columns[left], ddof=0) if left.any() else np.zeros((2, 2))
    drawn_out = 5 * np.array([spread[0, 0] - spread[1, 1], spread[0, 1]]) / max(np.trace(spread), 1e-6)
    beside = np.zeros(4)
    if right.any():
        beside = np.array([rows[right].mean(), columns[right].mean(), rows[right].std(), columns[right].std()])
        beside[:2] -= at
    return np.array([1, *radii, *products, *(15 * at), *drawn_out, right.any(), *(15 * beside)])


def _drawn(name: str, slices: Slices, model: Any, options: argparse.Namespace) -> Slices:
    """As of no known vendor or style."""
    unknown = slices.conditions | {hidden: unknown_column(hidden, len(slices)) for hidden in ("vendor", "style")}
    with progress_bar(f"drawing for masks of {name}") as progress:
        asked = replace(slices, conditions=unknown)
        return synthesise(model.generator, asked, model.sampling, options.seed, progress=progress)


def _dice(
    name: str, slices: Slices, tested: list[Slices], options: argparse.Namespace
) -> Float[np.ndarray, " patient"]:
    """Every tested patient's mean Dice, averaged over trainings."""
    scores = []
    for seed in range(options.seed, options.seed + options.seeds):
        with progress_bar(f"training a segmenter, {name}, seed {seed}") as progress:
            network = train_segmenter(TrainingSet((slices,)), options.steps, seed, progress=progress)
        found = [stack_scores(predict(network, test), test).by_patient("dice")[:, -1] for test in tested]
        scores.append(np.concatenate(found))
    return np.asarray(np.mean(scores, axis=0))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    parser.add_argument("--model", default="foundation", help="the generator")
    parser.add_argument("--hearts", type=int, default=3000, help="hearts on demand to choose from")
    parser.add_argument("--means", type=int, nargs="*", default=[20, 30], help="that the last arms take from patients")
    parser.add_argument("--slices", type=int, default=600, help="slices that are drawn for, of everybody")
    parser.add_argument("--steps", type=int, default=400, help="training steps of every segmenter")
    parser.add_argument("--seeds", type=int, default=3, help="trainings over which scores are averaged")
    parser.add_argument("--seed", type=int, default=0, help="decides hearts and trainings")
    return parser.parse_args()


if __name__ == "__main__":
    # workers import functions by name, and have none of a program's
    from benches import masks

    masks.main()
