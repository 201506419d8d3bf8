"""Drawing as one program: noise and conditions in, images out, with every step of the sampler unrolled."""

import copy

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cmrfed.batches import Conditions, unknown_conditions
from cmrfed.config import SamplingConfig, UserError
from cmrfed.generators import Denoiser, Generator
from cmrfed.shapes import Image, Latent

_ROWS = 2
"""Of the batch by which a program is traced; it takes any number."""
_MOST_ROWS = 4096
_BY_WHAT_IT_SEES = ("midpoint", "adaptive")
"""Samplers whose times are numbers of Python's, found on the way."""


class Drawing(nn.Module):
    """What `Denoiser.sample` does after its noise is drawn, on the CPU in single precision."""

    def __init__(self, generator: Denoiser, sampling: SamplingConfig) -> None:
        super().__init__()
        self.generator, self.sampling = _folded(generator), sampling

    def forward(self, noises: Latent, conditions: dict[str, Tensor]) -> Image:
        return self.generator.decoded(self.generator.denoise(noises, conditions, self.sampling)).clamp(-1, 1)


def refuse_inexpressible(generator: Generator, sampling: SamplingConfig) -> Denoiser:
    """The generator, where a program can do all that drawing from it takes. Raises UserError where it cannot."""
    family = generator.config.family
    if generator.config.levels > 1:
        raise UserError(
            f"model: draws stacks of {generator.config.levels} slices; only generators of slices are exported"
        )
    if not isinstance(generator, Denoiser) or type(generator).sample is not Denoiser.sample:
        raise UserError(
            f"model: family {family} does more than carry noise along a path, which no program here repeats; export "
            "another, as flow, ddpm, edm or shortcut"
        )
    if sampling.sampler in _BY_WHAT_IT_SEES:
        raise UserError(
            f"sampling.sampler: {sampling.sampler} looks its times up as it goes, which no program repeats; choose "
            "euler, heun or dpm_solver"
        )
    return generator


def told_names(generator: Denoiser) -> tuple[str, ...]:
    """The conditions that a program is given: the mask, and whatever else the generator is told of."""
    return ("mask", *(name for name in generator.config.conditions if name != "mask"))


def traced(drawing: Drawing, size: int) -> ExportedProgram:
    """A program for images of that many pixels a side, of any number of rows."""
    conditions = unknown_conditions(told_names(drawing.generator), _ROWS, (size, size))
    noises = drawing.generator.noises(conditions["mask"], torch.Generator().manual_seed(0))
    rows = {0: Dim("rows", min=1, max=_MOST_ROWS)}
    shapes = (rows, dict.fromkeys(conditions, rows))
    with torch.no_grad():
        return torch.export.export(drawing, (noises, conditions), dynamic_shapes=shapes)


def _folded(generator: Denoiser) -> Denoiser:
    """A copy whose directions, if any, have become weights."""
    own = copy.deepcopy(generator).cpu().float().eval().requires_grad_(False)
    if own.directions:
        own.directions.fold(own.network)
        own.directions = None
    return own


def largest_difference(
    program: ExportedProgram, generator: Denoiser, sampling: SamplingConfig, conditions: Conditions
) -> float:
    """Between what the program draws and what the generator draws from the same noise, of images in [-1, 1]."""
    rows, *grid = conditions["mask"].shape
    whole = unknown_conditions(told_names(generator), rows, grid) | conditions
    told = {name: whole[name] for name in told_names(generator)}
    noises = generator.noises(conditions["mask"], torch.Generator().manual_seed(0))
    with torch.no_grad():
        drawn = program.module()(noises, told)
        own = generator.sample(whole, sampling, torch.Generator().manual_seed(0))
    return float((drawn - own).abs().max())
