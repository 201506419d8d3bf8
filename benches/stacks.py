"""How alike the slices of one heart look, and how different hearts do: brightness of blood, muscle and all else, within
hearts and between them, of real patients (the development half) and of drawn stacks by the share of noise in common.

    python -m benches.stacks --data DATA --store STORE
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benches.phantom import groups, halves, read_real
from cmrfed import api
from cmrfed.anatomy import everybody, heart_slices
from cmrfed.columns import unknown_column
from cmrfed.config import VoxelsConfig
from cmrfed.console import console, progress_bar
from cmrfed.sampling import synthesise
from cmrfed.shapes import Label
from cmrfed.slices import Slices, concatenate

PARTS = {"blood": Label.LV, "muscle": Label.MYO, "all else": 0}
_FEWEST_PIXELS = 15
_APART = 2**40
"""Between a heart's seed and its slices'."""


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    model = api.load_model(options.model)
    real = groups(read_real(options.data, options.store, model.preprocessing))
    found = {f"real, {name}": _spreads(halves(group)[0]) for name, group in real.items()}
    hearts = heart_slices(everybody(options.hearts), VoxelsConfig(), model.preprocessing, options.seed)
    hidden = {name: unknown_column(name, len(hearts)) for name in ("vendor", "style")}
    hearts = replace(hearts, conditions=hearts.conditions | hidden)
    for share in options.shares:
        found[f"drawn, {share:g} in common"] = _spreads(_drawn(hearts, share, model, options.seed))
    console.print(json.dumps(found, indent=2), markup=False, highlight=False)


def _drawn(hearts: Slices, share: float, model: api.Model, seed: int) -> Slices:
    sampling = model.sampling.model_copy(update={"shared_noise": share})
    drawn = []
    with progress_bar(f"drawing, {share:g} in common") as progress:
        for number in range(hearts.number_of_patients):
            own = hearts.take(hearts.of_patient(number))
            drawn.append(synthesise(model.generator, own, sampling, seed + number, heart_seed=_APART + seed + number))
            progress(number + 1, hearts.number_of_patients)
    return concatenate(drawn)


def _spreads(slices: Slices) -> dict[str, dict[str, float]]:
    """Standard deviations of a part's mean brightness, which is from -1 to 1: over the slices of a heart, the mean of
    all hearts; and over hearts, of their means."""
    brightness = np.stack([_brightness(*pair) for pair in zip(slices.images[:], slices.masks[:], strict=True)])
    hearts = [brightness[slices.of_patient(one)] for one in range(slices.number_of_patients)]
    within = np.nanmean([np.nanstd(one, axis=0) for one in hearts], axis=0)
    between = np.nanstd([np.nanmean(one, axis=0) for one in hearts], axis=0)
    return {
        part: {"within": round(float(within[at]), 3), "between": round(float(between[at]), 3)}
        for at, part in enumerate(PARTS)
    }


def _brightness(image: np.ndarray, mask: np.ndarray) -> Float[np.ndarray, " part"]:
    """NaN of a part that hardly shows."""
    parts = [image[mask == label] for label in PARTS.values()]
    return np.array([part.mean() if part.size >= _FEWEST_PIXELS else np.nan for part in parts])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    parser.add_argument("--model", default="foundation", help="the generator")
    parser.add_argument("--hearts", type=int, default=24, help="hearts that are drawn for")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.0, 0.5, 0.75, 0.95], help="shares of noise")
    parser.add_argument("--seed", type=int, default=0, help="decides hearts and noise")
    return parser.parse_args()


if __name__ == "__main__":
    # workers import functions by name, and have none of a program's
    from benches import stacks

    stacks.main()
