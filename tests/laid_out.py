"""A few toy hearts, drawn by a generator that paints the left ventricle white and all else black, in any layout."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from toy_hearts import SPACING_MM, toy_mask

from cmrfed import generation
from cmrfed.conditions import UNLABELLED
from cmrfed.config import GeneratorConfig, PreprocessingConfig, SamplingConfig
from cmrfed.generation import Order, describe, draw_cases, plan_cases
from cmrfed.generators import build_generator
from cmrfed.layouts import Provenance, Written
from cmrfed.shapes import Label
from cmrfed.volumes import write_volume

GRID = PreprocessingConfig(size=32, field_of_view_mm=64)
GENERATOR = GeneratorConfig(channels=(8, 8), norm_groups=4, init=None)
OBLIQUE = nib.affines.from_matvec(
    np.array([[-0.8, 0.0, 0.6], [0.36, -0.8, 0.48], [0.48, 0.6, 0.64]]) @ np.diag([1.25, 1.5, 8.0]), (31, -22, 13)
)
"""A plane that is turned about two axes, as those of patients are."""


def write_masks(folder: Path) -> None:
    """Two phases of a heart on a plain grid, and one of another, partly unlabelled, on an oblique one."""
    for phase, scale in (("ED", 1.0), ("ES", 0.7)):
        write_volume(folder / f"heart0_{phase}.nii.gz", toy_mask(scale=scale), SPACING_MM)
    unlabelled = toy_mask(slices=4)
    unlabelled[:, :4] = UNLABELLED
    (folder / "p 1").mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(unlabelled.T), OBLIQUE), folder / "p 1" / "x_sä_gt.nii.gz")


def drawn_in(
    layout: str, masks: Path, out: Path, patch: pytest.MonkeyPatch, **changes: object
) -> tuple[list[Written], Provenance]:
    """Every pair that came of it; `changes` are of the order."""
    patch.setattr(
        generation,
        "synthesise",
        lambda _, slices, *__, **___: replace(
            slices, images=np.where(slices.masks == Label.LV, 1, -1).astype(np.float32)
        ),
    )
    order = replace(Order(masks=masks, out=out, layout=layout, model="model.safetensors"), **changes)  # type: ignore
    generator = build_generator(GENERATOR, seed=0)
    sampling = SamplingConfig()
    written = draw_cases(generator, plan_cases(order, GRID), sampling).written
    describe(generator, order, sampling, written)
    return written, generation.provenance(generator, order, sampling)
