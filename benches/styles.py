"""How much of what real patients would teach is the phantom's style: the best one for each vendor of each data set, by
gradient descent through the frozen foundation, with no privacy at all.

A style is 28 numbers, told to a network that knows all looks of the physics. What the best of them leaves of the
held-out loss is the least that any way of choosing styles could: learnt privately, voted for, or encoded from images.

    python -m benches.styles DATA STORE [STEPS] [SEED]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benches.phantom import read_real
from cmrfed.batches import Batch
from cmrfed.conditions import STYLE_NUMBERS
from cmrfed.config import RunConfig
from cmrfed.console import console, progress_bar
from cmrfed.federation.start import initial_weights
from cmrfed.generators import Denoiser, build_generator
from cmrfed.privacy import SeededRandom
from cmrfed.slices import Slices, split_one_by_one
from cmrfed.training.losses import torch_generator
from cmrfed.updates import write_weights

BATCH, RATE, DRAWS = 16, 0.1, 4
"""Slices in a step, Adam's step in the style's logits, and noises and times for each slice that is asked."""


def main() -> None:
    """Print a line for each vendor of each data set."""
    data, store, steps, seed = [*sys.argv[1:], *("120", "1")[len(sys.argv) - 3 :]]
    config = RunConfig(data={"root": data, "sources": {}}, generator={"trainable": "all"})
    generator = build_generator(config.generator, seed=0)
    assert isinstance(generator, Denoiser)
    write_weights(generator, initial_weights(config)[0])
    for name, trained, held_out in _groups(read_real(data, Path(store)), config, int(seed)):
        style = best_style(generator, trained, int(steps), int(seed))
        told = {"told no style": None, "the middle of all": torch.full((STYLE_NUMBERS,), 0.5), "the best": style}
        found = [f"{what} {loss(generator, held_out, point, int(seed)):.5f}" for what, point in told.items()]
        console.print(f"{name}: {', '.join(found)}", markup=False)


def best_style(generator: Denoiser, slices: Slices, steps: int, seed: int) -> Tensor:
    """The one style for all of these slices at which the generator's loss of them is least, found by Adam."""
    generator.eval().requires_grad_(False)
    logits = torch.zeros(STYLE_NUMBERS, requires_grad=True)
    optimizer, random, rows = torch.optim.Adam([logits], lr=RATE), SeededRandom(seed), np.random.default_rng(seed)
    with progress_bar("fitting a style") as progress:
        for step in range(steps):
            batch = slices.batch(rows.integers(len(slices), size=BATCH).tolist())
            optimizer.zero_grad()
            _losses(generator, batch, torch.sigmoid(logits), random).mean().backward()
            optimizer.step()
            progress(step + 1, steps)
    return torch.sigmoid(logits.detach())


@torch.no_grad()
def loss(generator: Denoiser, slices: Slices, style: Tensor | None, seed: int) -> float:
    """Mean over slices and draws, the same draws for every style."""
    random, rows = SeededRandom(seed, 1), range(len(slices))
    found = [
        _losses(generator, slices.batch(rows[start : start + 64]), style, random)
        for _ in range(DRAWS)
        for start in range(0, len(rows), 64)
    ]
    return float(torch.cat(found).mean())


def _losses(generator: Denoiser, batch: Batch, style: Tensor | None, random: SeededRandom) -> Tensor:
    """With nothing hidden: training hides half of the styles, and what is asked here is how much one tells."""
    told = {} if style is None else {"style": style.expand(batch.size, -1)}
    batch = batch._replace(conditions={**batch.conditions, **told})
    return generator.objective.losses(
        generator.objective.told(generator.objective.drawn(batch, torch_generator(random)))
    )


def _groups(real: Slices, config: RunConfig, seed: int) -> Iterator[tuple[str, Slices, Slices]]:
    """Data set and vendor, with the patients to fit a style to and those held out."""
    sides = split_one_by_one(real.records, config.federation.held_out_fraction, seed)
    for key in sorted({(one.dataset, one.vendor) for one in real.records}):
        own = {one.patient for one in real.records if (one.dataset, one.vendor) == key}
        trained, held_out = (real.subset([name for name in side if name in own]) for side in sides)
        yield " ".join(key), trained, held_out


if __name__ == "__main__":
    main()
