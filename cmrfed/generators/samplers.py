"""How noise is carried to an image: solvers of the ordinary differential equation that every path is.

Whatever a path's own times are, x_t = a image + b noise is, divided by a + b, the straight mixture

    y = (1 - p) image + p noise,    p = b / (a + b) its noise share,

so that dy/dp = noise - image, both as the network sees them in x_t. Euler's step in p keeps both: it is DDIM's (Song et
al. 2020, arXiv:2010.02502), and for a rectified flow Euler's in time. Each solver here is one of this equation, asks at
`times` from the noisiest on, and takes the image that is seen at the last of them.

No row's steps depend on another's: a batch may be cut up in any way.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from cmrfed.generators.path import Parts, Path, Times
from cmrfed.shapes import Latent, spread

Seen: TypeAlias = Callable[[Latent, Times], Parts]
"""What the network sees in x_t, at the time of each row."""
SamplingTimes: TypeAlias = Float[Tensor, " steps"]
Sampler: TypeAlias = Callable[[Path, Seen, Latent, SamplingTimes], Latent]
"""From unit Gaussian noise to latents of images; without gradients."""

TOLERANCE = 0.02
"""Of the adaptive solver: root mean square error of a step, where images are from -1 to 1."""


def euler(path: Path, seen: Seen, x_t: Latent, times: SamplingTimes) -> Latent:
    """One question a step; of first order."""
    for t, to in pairwise(_by_row(times, x_t)):
        x_t = path.corrupt(seen(x_t, t), to)
    return _last(seen, x_t, times)


def heun(path: Path, seen: Seen, x_t: Latent, times: SamplingTimes) -> Latent:
    """Two questions a step, at its start and where Euler's would end (Karras et al. 2022, arXiv:2206.00364); of second
    order."""
    for t, to in pairwise(_by_row(times, x_t)):
        first = seen(x_t, t)
        second = seen(path.corrupt(first, to), to)
        x_t = _moved(path, x_t, t, to, (_slope(first) + _slope(second)) / 2)
    return _last(seen, x_t, times)


def midpoint(path: Path, seen: Seen, x_t: Latent, times: SamplingTimes) -> Latent:
    """Two questions a step, at its start and half way; of second order, as far as a path has such a time."""
    for t, to in pairwise(_by_row(times, x_t)):
        half = _times_at(path, (_share(path, t) + _share(path, to)) / 2)
        x_t = _moved(path, x_t, t, to, _slope(seen(path.corrupt(seen(x_t, t), half), half)))
    return _last(seen, x_t, times)


def dpm_solver(path: Path, seen: Seen, x_t: Latent, times: SamplingTimes) -> Latent:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095): one question a step, of second order by what the step before
    saw.

    With l = log(a / b) and h the step in it, x_s = (b_s / b_t) x_t + a_s (1 - e^-h) D, where D = image + h / 2h' (image
    - image') and a dash marks the step before; the first step, and one that follows a step from pure noise, where h'
    has no bound, is of first order.
    """
    before: tuple[Latent, Tensor] | None = None
    for t, to in pairwise(_by_row(times, x_t)):
        (a, b), (a_to, b_to) = path.alpha_sigma(t), path.alpha_sigma(to)
        h = (a_to / b_to).log() - (a / b).log()
        image = seen(x_t, t).image
        straight = image
        if before:
            straight = image + spread(h / (2 * before[1]), image) * (image - before[0])
        x_t = spread(b_to / b, x_t) * x_t + spread(a_to * -torch.expm1(-h), image) * straight
        before = image, h
    return _last(seen, x_t, times)


def adaptive(path: Path, seen: Seen, x_t: Latent, times: SamplingTimes) -> Latent:
    """Heun's steps, each as long as Euler's is off by no more than `TOLERANCE`, and at least as long as those of
    `times`, so that there are no more; each row has steps of its own."""
    rows = len(x_t)
    share, last = (_share(path, one.expand(rows)) for one in (times[0], times[-1]))
    shortest = (share - last) / max(len(times) - 1, 1)
    step, t = shortest.clone(), times[0].expand(rows)
    while (share > last).any():
        step = torch.minimum(torch.maximum(step, shortest), share - last)
        to = _times_at(path, share - step)
        first = seen(x_t, t)
        second = seen(path.corrupt(first, to), to)
        slope = (_slope(first) + _slope(second)) / 2
        error = step / 2 * (_slope(second) - _slope(first)).flatten(1).square().mean(1).sqrt()
        taken = (error <= TOLERANCE) | (step <= shortest)
        x_t = torch.where(spread(taken, x_t), _moved(path, x_t, t, to, slope), x_t)
        t, share = torch.where(taken, to, t), torch.where(taken, (share - step).clamp_min(last), share)
        share = torch.where(share - last < _NO_STEP, last, share)
        step = step * (0.9 * (TOLERANCE / error.clamp_min(1e-9)).sqrt()).clamp(0.2, 5.0)
    return _last(seen, x_t, times)


_NO_STEP = 1e-6


def _by_row(times: SamplingTimes, x_t: Latent) -> Float[Tensor, "steps batch"]:
    return times[:, None].expand(-1, x_t.shape[0])


def _last(seen: Seen, x_t: Latent, times: SamplingTimes) -> Latent:
    return seen(x_t, times[-1].expand(x_t.shape[0])).image


def _slope(parts: Parts) -> Latent:
    """dy/dp."""
    return parts.noise - parts.image


def _share(path: Path, t: Times) -> Float[Tensor, " batch"]:
    """The noise share p."""
    return path.alpha_sigma(t)[1] / _size(path, t)


def _size(path: Path, t: Times) -> Float[Tensor, " batch"]:
    """a + b."""
    signal, noise = path.alpha_sigma(t)
    return signal + noise


def _times_at(path: Path, shares: Float[Tensor, " batch"]) -> Times:
    """The path's time of each noise share."""
    return torch.tensor([path.time_at(share) for share in shares.tolist()], device=shares.device)


def _moved(path: Path, x_t: Latent, t: Times, to: Times, slope: Latent) -> Latent:
    """x at time `to`, on a straight line in p."""
    way = spread(_share(path, to) - _share(path, t), x_t)
    return spread(_size(path, to), x_t) * (x_t / spread(_size(path, t), x_t) + way * slope)
