"""A generator that draws in few steps, taught by itself in many (Salimans and Ho 2022, arXiv:2202.00512, in one go).

The teacher carries noise to an image in many short steps. The student, which begins as the teacher, is to come by the
same points in few long ones: a step from x_t to the teacher's x_s is the one that says x_t = a image + b noise and
x_s = c image + d noise, (a, b) and (c, d) being signal and noise at both times, and these two parts are what it learns
to see in x_t. It looks at nothing but masks and what the teacher draws for them: with masks of phantoms it is
post-processing, and costs no privacy.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.batches import Batch, Conditions, joined, of_any_scanner
from cmrfed.config import SamplingConfig
from cmrfed.generators import Denoiser, Objective, Parts
from cmrfed.shapes import Latent, spread
from cmrfed.training.losses import autocast


class FewSteps(Objective):
    """The path's loss of the student, at the `steps` times at which a sampler asks it, against the teacher's way.

    teacher: with `sampling.steps` steps for the whole way, the next multiple of `steps`, under its guidance; frozen.
    """

    name = "few steps"
    private = False

    def __init__(
        self, student: Denoiser, teacher: Denoiser, steps: int, sampling: SamplingConfig, precision: str
    ) -> None:
        self.student, self.teacher, self.precision = student, teacher.eval().requires_grad_(False), precision
        self.steps, self.substeps, self.guidance = steps, -(-sampling.steps // steps), sampling.guidance

    def weights(self) -> Iterator[nn.Parameter]:
        yield from self.student.network.parameters()

    @torch.no_grad()
    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        """Each row `steps` times, once for each step; rows of one step beside each other."""
        latents = self.teacher.encoded(batch)
        noises = torch.randn(latents.shape, generator=random).to(latents.device)
        conditions = of_any_scanner(batch.conditions, random)
        with autocast(noises.device, self.precision):
            points = [point.float() for point in self._way(noises, conditions)]
        times = self._times(noises.device)
        return joined(
            [
                _lesson(self.student, points[step : step + 2], times[step : step + 2], conditions)
                for step in range(self.steps)
            ]
        )

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        return self.student.losses_at(batch.images, batch.draws["noises"], batch.draws["times"], batch.conditions)

    def _times(self, device: torch.device) -> Float[Tensor, " steps"]:
        return self.teacher.path.sampling_times(self.steps).to(device)

    def _way(self, noises: Latent, conditions: Conditions) -> Iterator[Latent]:
        """Where the teacher is at each of the student's times, and its image."""
        x_t, path = noises, self.teacher.path
        ends = [*self._times(noises.device), torch.tensor(path.time_at(0.0), device=noises.device)]
        for number, (start, end) in enumerate(pairwise(ends), start=1):
            yield x_t
            substeps = 1 if start == end else self.substeps
            for t, to in pairwise(torch.linspace(float(start), float(end), substeps + 1, device=noises.device)):
                if not path.is_asked_at(float(t)):
                    break
                seen = self.teacher.seen(x_t, t.expand(len(x_t)), conditions, self.guidance)
                x_t = path.corrupt(seen, to.expand(len(x_t)))
            if number == self.steps:
                yield seen.image


def _lesson(student: Denoiser, points: list[Latent], times: Float[Tensor, " n"], conditions: Conditions) -> Batch:
    """The parts of the first point from which one step leads to the second; after the last time, that is the image."""
    x_t, x_s = points
    rows = len(x_t)
    a, b = _scales(student, times[0].expand(rows), x_t)
    c, d = torch.ones_like(a), torch.zeros_like(b)
    if len(times) == 2:
        c, d = _scales(student, times[1].expand(rows), x_t)
    determinant = a * d - b * c
    parts = Parts(image=(d * x_t - b * x_s) / determinant, noise=(a * x_s - c * x_t) / determinant)
    return Batch(parts.image, conditions, {"noises": parts.noise, "times": times[0].expand(rows)})


def _scales(generator: Denoiser, t: Float[Tensor, " batch"], like: Latent) -> tuple[Tensor, Tensor]:
    signal, noise = generator.alpha_sigma(t)
    return spread(signal, like), spread(noise, like)
