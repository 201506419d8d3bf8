"""Few public directions in which a trained network changes what it says most, scaled so that one step goes the way.

Near its weights w_0 the loss of a denoiser is a parabola in them, whose curvature is that of Gauss and Newton,

    H = E[ 2 / pixels J' J ],    J the derivative of what the network says by its weights,

and does not ask what the images are of, only at what the network is asked: phantoms tell it. With eigenvectors v_i of
its largest eigenvalues h_i, the directions are d_i = v_i / sqrt(h_i). In their coordinates the curvature is one
everywhere: a gradient is a Newton step, so that few releases go the whole way, and noise of one size costs as much loss
in one direction as in any other. A gradient's own direction tells less: most of its length lies where the network is
steepest, and a hair's breadth there is all that is to be gained.

J' u with u ~ N(0, 1) a pixel is a row of which H is the mean square, at the cost of one backward pass. No patient is in
it (pre-conditioning by public data: Kairouz et al. 2021, arXiv:2008.06570; Li et al. 2022, arXiv:2204.07667).
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float32, Float64
from scipy.linalg import eigh
from torch import Tensor, nn

from cmrfed.batches import Batch
from cmrfed.conditions import CONDITIONS, Categorical, Vector
from cmrfed.core.progress import Progress, counted
from cmrfed.generators import Denoiser
from cmrfed.privacy import SeededRandom
from cmrfed.training.losses import choose_device, torch_generator
from cmrfed.training.pretraining import Mixed, Patients

ROWS_OF_A_DIRECTION = 8
"""Backward passes for each direction: with fewer, the least steep are more chance than network."""
_MIXED_SLICES, _ROWS_AT_ONCE = 512, 256
_FLAT = 1e-8
"""Of the steepest curvature: along a direction as flat as this a step of the same effect is ten thousand times as long,
which is no step but another network."""


def public_directions(
    generator: Denoiser,
    weights: list[nn.Parameter],
    patients: Patients,
    count: int,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Float32[np.ndarray, "weight direction"]:
    """`count` directions of these weights, the steepest first, from slices of public patients; fewer where the network
    is flat in all others, as an untrained one is."""
    entries = sum(weight.numel() for weight in weights)
    count = min(count, entries)
    rows, curvature = ROWS_OF_A_DIRECTION * count, np.zeros((entries, entries))
    coming = counted(_rows(generator, weights, patients, rows, seed, device), rows, progress)
    while some := list(islice(coming, _ROWS_AT_ONCE)):
        block = np.stack(some)
        curvature += block.T @ block / rows
    return _directions(curvature, count)


def _rows(
    generator: Denoiser, weights: list[nn.Parameter], patients: Patients, count: int, seed: int, device_name: str
) -> Iterator[Float64[np.ndarray, " weight"]]:
    """J' u of a slice each."""
    device, random = choose_device(device_name), SeededRandom(seed)
    generator.to(device).eval()
    pool = Mixed(min(_MIXED_SLICES, count), generator.config.levels)
    with closing(patients(0)) as coming:
        for _ in range(count):
            stream = torch_generator(random)
            batch = generator.denoising.drawn(_told(pool.draw(1, coming, random), stream).to(device), stream)
            gradients = torch.autograd.grad(
                _projected(generator, batch, stream), weights, allow_unused=True, materialize_grads=True
            )
            yield torch.cat([one.flatten() for one in gradients]).double().cpu().numpy()


def _projected(generator: Denoiser, batch: Batch, random: torch.Generator) -> Tensor:
    """What the network says, times u sqrt(2 / pixels), summed."""
    draws = batch.draws
    x_t = generator.corrupt(batch.images, draws["noises"], draws["times"])
    said = generator.predict(x_t, draws["times"], batch.conditions)
    noise = torch.randn(said.shape, generator=random).to(said)
    return (said * noise).sum() * (2 / said[0].numel()) ** 0.5


def _told(batch: Batch, random: torch.Generator) -> Batch:
    """What no phantom knows of itself, as its vendor, is made up, so that there are directions for it too; its style,
    which no patient's image comes with, is hidden."""
    made_up = {
        name: torch.randint(CONDITIONS[name].unknown, column.shape, generator=random)  # type: ignore[arg-type]
        for name, column in batch.conditions.items()
        if isinstance(CONDITIONS[name], Categorical) and bool((column == CONDITIONS[name].unknown).all())
    }
    hidden = {
        name: torch.full_like(column, CONDITIONS[name].unknown)
        for name, column in batch.conditions.items()
        if isinstance(CONDITIONS[name], Vector)
    }
    return batch._replace(conditions=batch.conditions | made_up | hidden)


def _directions(curvature: Float64[np.ndarray, "weight weight"], count: int) -> Float32[np.ndarray, "weight direction"]:
    last = len(curvature) - 1
    eigenvalues, vectors = eigh(curvature, subset_by_index=[last + 1 - count, last])
    steep = eigenvalues > max(_FLAT * eigenvalues[-1], np.finfo(np.float32).tiny)
    return np.ascontiguousarray((vectors[:, steep] / np.sqrt(eigenvalues[steep]))[:, ::-1], dtype=np.float32)
