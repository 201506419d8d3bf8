"""A picture of diseases' courses: one person's heart at three severities of each, its masks and a generator's images
for them in the looks of two vendors' public protocols. It shows no patient. `docs/anatomy.png` is drawn by it:

    python -m benches.hearts_grid --out docs/anatomy.png
"""

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
from jaxtyping import Float32
from matplotlib.figure import Figure
from numpy.random import default_rng

from cmrfed.anatomy import draw_heart
from cmrfed.api import load_model
from cmrfed.columns import columns
from cmrfed.config import Disease, HeartConfig, PreprocessingConfig, SamplingConfig, UserError, VoxelsConfig
from cmrfed.console import console
from cmrfed.generators import Generator
from cmrfed.phantom.styles import sample_style
from cmrfed.pictures import panels
from cmrfed.preprocessing import PreparedMask, prepare_mask
from cmrfed.sampling import synthesise
from cmrfed.shapes import Label
from cmrfed.slices import masks_alone

SEVERITIES = (0.0, 0.5, 1.0)
COLUMNS = tuple((phase, severity) for phase in ("ED", "ES") for severity in SEVERITIES)
VENDORS = ("Siemens", "Philips")
_DOTS_PER_INCH = 60


def main() -> None:
    """Draw the picture and write it."""
    options = _options()
    try:
        draw(options.generator, options.seed).savefig(options.out, dpi=_DOTS_PER_INCH)
    except UserError as error:
        raise SystemExit(f"cannot draw: {error}") from None
    console.print(f"wrote {options.out}", soft_wrap=True)


def draw(generator: str, seed: int) -> Figure:
    """Of each disease a row of masks and one of images for each vendor; severity grows to the right, at end diastole
    and then at end systole. All images begin from the same noise."""
    model = load_model(generator)
    looks = {vendor: sample_style(vendor, default_rng([seed, at])).condition() for at, vendor in enumerate(VENDORS)}
    rows: dict[str, np.ndarray] = {}
    for disease in (one for one in get_args(Disease) if one != "NOR"):
        asked = {column: _slice(disease, *column, seed, model.preprocessing) for column in COLUMNS}
        rows[disease] = np.concatenate([one.masks for one in asked.values()])
        for vendor, look in looks.items():
            images = [_image(model.generator, one, phase, look, seed) for (phase, _), one in asked.items()]
            rows[f"{disease}\n{vendor}"] = np.concatenate(images)
    return panels(rows, [f"{phase}, severity {severity:g}" for phase, severity in COLUMNS])


def _slice(
    disease: Disease, phase: str, severity: float, seed: int, preprocessing: PreprocessingConfig
) -> PreparedMask:
    """The slice in the middle of the left ventricle, of the same person for every disease."""
    heart = draw_heart(HeartConfig(pathology=disease, severity=severity, sex="M"), VoxelsConfig(), default_rng(seed))
    mask = heart.masks[phase]
    shown = np.flatnonzero((mask == Label.LV).any(axis=(1, 2)))
    middle = mask[shown[len(shown) // 2]][None]
    return prepare_mask(middle, heart.spacing_mm, preprocessing, f"{disease} {severity:g}")


def _image(
    generator: Generator, prepared: PreparedMask, phase: str, look: tuple[float, ...], seed: int
) -> Float32[np.ndarray, "1 size size"]:
    known = columns(1, {"phase": phase, "style": np.array([look], np.float32)})
    asked = masks_alone(prepared.masks, known, prepared.spacing_mm)
    return np.asarray(synthesise(generator, asked, SamplingConfig(), seed).images)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", default="foundation", help="foundation, or weights that `cmrfed pretrain` wrote")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--seed", type=int, default=3, help="decides the person, the looks and the noise")
    return parser.parse_args()


if __name__ == "__main__":
    main()
