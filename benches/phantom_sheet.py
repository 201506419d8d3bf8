"""A picture of what public pretraining sees and gives: masks, phantoms, and what a generator draws for the same masks.

It shows no patient. `docs/phantom.png` is drawn by it.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cmrfed.api import load_model
from cmrfed.conditions import PHASES
from cmrfed.config import PreprocessingConfig, SamplingConfig, UserError
from cmrfed.console import console
from cmrfed.pictures import panels
from cmrfed.preparation import phantom_slices
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices

_DOTS_PER_INCH = 100
_LEVEL = 1 / 3
"""Where along each stack its slice is shown, 0 base to 1 apex."""


def main() -> None:
    """Draw the picture and write it."""
    options = _options()
    try:
        draw(options.generator, options.hearts, options.seed, options.size).savefig(options.out, dpi=_DOTS_PER_INCH)
    except UserError as error:
        raise SystemExit(f"cannot draw: {error}") from None
    console.print(f"wrote {options.out}", soft_wrap=True)


def draw(generator: str | None, hearts: int, seed: int, size: int) -> Figure:
    """One column a heart and phase; rows are masks, phantoms and, with a generator, its images."""
    phantoms = one_slice_a_stack(phantom_slices(hearts, seed, PreprocessingConfig(size=size)))
    rows = {"mask": np.asarray(phantoms.masks), "phantom": np.asarray(phantoms.images)}
    if generator:
        network = load_model(generator).generator
        rows[network.config.family] = np.asarray(synthesise(network, phantoms, SamplingConfig(), seed).images)
    return panels(rows, [PHASES[phase] for phase in phantoms.conditions["phase"]])


def one_slice_a_stack(slices: Slices) -> Slices:
    """Of every stack the slice a third of the way from base to apex."""
    stacks = (np.flatnonzero(slices.stacks == stack) for stack in np.unique(slices.stacks))
    return slices.take(np.array([rows[int(_LEVEL * len(rows))] for rows in stacks]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", help="foundation, or weights that `cmrfed pretrain` wrote; none: phantoms alone")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--hearts", type=int, default=4, help="phantom hearts, two columns each")
    parser.add_argument("--seed", type=int, default=999, help="decides hearts and drawings")
    parser.add_argument("--size", type=int, default=64, help="pixels a side, those the generator was trained at")
    return parser.parse_args()


if __name__ == "__main__":
    main()
