"""The bundle's folder, written whole or not at all."""

from pathlib import Path

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from cmrfed.bundle.documents import inference, metadata
from cmrfed.bundle.program import Drawing, largest_difference, refuse_inexpressible, told_names, traced
from cmrfed.columns import columns
from cmrfed.config import PreprocessingConfig, SamplingConfig, UserError
from cmrfed.core import atomic
from cmrfed.core.progress import ProgressBar
from cmrfed.generators import Denoiser, Generator
from cmrfed.layouts import Provenance
from cmrfed.layouts.contract import write_json
from cmrfed.phantom import phantom_patient
from cmrfed.preprocessing import PreparedMask, prepare_mask
from cmrfed.slices import masks_alone
from cmrfed.updates import read_weights, save_generator
from cmrfed.volumes import write_volume

TOLERANCE = 1e-4
"""How far a program's images may be from the generator's own, which go from -1 to 1: by rounding alone, which DDPM's
first step makes larger, for it divides by a signal of 0.006. Others stay within 1e-5."""
_AUTHOR = "cmrfed export"
_EXAMPLE_SEED = 2**63
"""Beyond all seeds that a configuration can name: no training saw this heart."""


def export_bundle(
    generator: Generator,
    grid: PreprocessingConfig,
    sampling: SamplingConfig,
    made_by: Provenance,
    out: Path,
    bar: ProgressBar,
) -> float:
    """Write the bundle to `out`, new or empty; returns the largest difference between an image of its program and the
    generator's own from the same noise, of images in [-1, 1].

    Raises UserError where a program cannot express the generator, and where its images differ by more than `TOLERANCE`.
    """
    denoiser = refuse_inexpressible(generator, sampling)
    example = _example(grid)
    told = columns(len(example.masks), {"vendor": "Siemens", "phase": "ED"})
    asked = masks_alone(example.masks, told, example.spacing_mm).batch(range(len(example.masks)))
    with bar("exporting") as progress:
        program = traced(Drawing(denoiser, sampling), grid.size)
        progress(1, 3)
        difference = largest_difference(program, denoiser, sampling, asked.conditions)
        if not difference <= TOLERANCE:
            raise UserError(
                f"model: the exported program differs from the generator by {difference:.1e}, more than {TOLERANCE:g}; "
                "nothing was written"
            )
        progress(2, 3)
        with atomic.new_folder(out, mode=0o755) as draft:
            _write(draft, denoiser, grid, made_by, example, difference)
            torch.export.save(program, draft / "models" / "model.pt2")
        progress(3, 3)
    return difference


def _write(
    folder: Path,
    generator: Denoiser,
    grid: PreprocessingConfig,
    made_by: Provenance,
    example: PreparedMask,
    difference: float,
) -> None:
    """All but the program."""
    names, latent = told_names(generator), generator.latent_shape((grid.size, grid.size))
    facts = made_by.facts | {"DifferenceFromCmrfed": difference}
    write_json(folder / "configs" / "metadata.json", metadata(names, latent, grid.size, facts))
    write_json(folder / "configs" / "inference.json", inference(names, latent, grid.size))
    write_volume(folder / "example" / "mask.nii.gz", example.masks, example.spacing_mm, _AUTHOR)
    notes = {"preprocessing": grid.model_dump(mode="json"), "sampling": made_by.sampling.model_dump(mode="json")}
    save_generator(folder / "models" / "model.safetensors", generator, read_weights(generator), **notes)
    templates = Environment(loader=PackageLoader("cmrfed.bundle"), undefined=StrictUndefined, trim_blocks=True)
    told = {"names": names, "latent": latent, "grid": grid, "made_by": made_by, "difference": difference}
    atomic.write_text(folder / "README.md", templates.get_template("README.md.jinja").render(told))


def _example(grid: PreprocessingConfig) -> PreparedMask:
    """A simulated heart at end diastole."""
    heart = phantom_patient(0, _EXAMPLE_SEED)[0]
    return prepare_mask(heart.mask, heart.spacing_mm, grid, "example")
