"""A picture of what public pretraining sees and gives: masks, phantoms, and what a generator draws for the same masks.

It shows no patient. `docs/phantom.png` is drawn by it.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from cmrfed.conditions import PHASES
from cmrfed.config import PreprocessingConfig, SamplingConfig, UserError
from cmrfed.console import console
from cmrfed.preparation import phantom_slices
from cmrfed.sampling import synthesise
from cmrfed.shapes import COLOURS
from cmrfed.slices import Slices
from cmrfed.updates import load_generator

_PANEL_INCH, _DOTS_PER_INCH = 1.2, 100
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


def draw(generator: Path | None, hearts: int, seed: int, size: int) -> Figure:
    """One column a heart and phase; rows are masks, phantoms and, with a generator, its images."""
    phantoms = one_slice_a_stack(phantom_slices(hearts, seed, PreprocessingConfig(size=size)))
    rows = {"mask": coloured(np.asarray(phantoms.masks)), "phantom": np.asarray(phantoms.images)}
    if generator:
        network, _ = load_generator(generator)
        rows[network.config.family] = np.asarray(synthesise(network, phantoms, SamplingConfig(), seed).images)
    return _panels(rows, [PHASES[phase] for phase in phantoms.conditions["phase"]])


def _panels(rows: dict[str, np.ndarray], titles: list[str]) -> Figure:
    figure = Figure(figsize=(len(titles) * _PANEL_INCH, len(rows) * _PANEL_INCH + 0.2))
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(name, fontsize=9)
        for panel, picture in zip(row, pictures, strict=True):
            _show(panel, picture)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=8)
    figure.subplots_adjust(0.03, 0.01, 0.995, 0.94, 0.02, 0.02)
    return figure


def one_slice_a_stack(slices: Slices) -> Slices:
    """Of every stack the slice a third of the way from base to apex."""
    stacks = (np.flatnonzero(slices.stacks == stack) for stack in np.unique(slices.stacks))
    return slices.take(np.array([rows[int(_LEVEL * len(rows))] for rows in stacks]))


def coloured(masks: UInt8[np.ndarray, "slice row column"]) -> Float[np.ndarray, "slice row column 3"]:
    """Labels in the colours of every picture, background black."""
    palette = np.zeros((256, 3))
    for label, colour in COLOURS.items():
        palette[label] = to_rgb(colour)
    return palette[masks]


def _show(panel: Axes, picture: np.ndarray) -> None:
    # a mask's pixels are shown as they are; images are smoothed as a viewer does
    smoothing = "nearest" if picture.ndim == 3 else "bicubic"
    panel.imshow(picture, cmap="gray", vmin=-1, vmax=1, interpolation=smoothing)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", type=Path, help="weights that `cmrfed pretrain` wrote; none: phantoms alone")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--hearts", type=int, default=4, help="phantom hearts, two columns each")
    parser.add_argument("--seed", type=int, default=999, help="decides hearts and drawings")
    parser.add_argument("--size", type=int, default=64, help="pixels a side, those the generator was trained at")
    return parser.parse_args()


if __name__ == "__main__":
    main()
