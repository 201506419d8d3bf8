"""Held-out images that a generator restores after half of each was replaced by noise."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from cmrfed.core.progress import Progress, ProgressBar
from cmrfed.evaluation.fidelity.sets import Compared
from cmrfed.evaluation.subject import Subject
from cmrfed.generators import Denoiser
from cmrfed.generators.path import spread
from cmrfed.slices import Slices
from cmrfed.stacks import Stacks, samples_of
from cmrfed.training import autocast

NOISE_SHARE = 0.5
STEPS = 10
_AT_ONCE = 64


def reconstructed(sets: Compared, bar: ProgressBar) -> dict[str, Slices]:
    """The test slices as each arm restores them whose generator is at hand and can begin at any noise, by arm."""
    found = {}
    for arm, made in sets.subject.synthetic.items():
        generator = made.load() if made.generator else None
        if isinstance(generator, Denoiser):
            with bar(f"restoring images, {arm}") as progress:
                images = restore(generator, sets.test, sets.subject, progress)
            found[arm] = replace(sets.test, images=images)
    return found


@torch.no_grad()
def restore(generator: Denoiser, slices: Slices, subject: Subject, progress: Progress | None = None) -> np.ndarray:
    """Images of the same shape in [-1, 1]: noised to `NOISE_SHARE` and carried back in `STEPS` deterministic steps,
    each for its own mask, vendor and phase. The noise depends on the subject's seed alone."""
    generator.to(subject.device).eval()
    samples = samples_of(slices, generator.config.levels)
    random, batches = torch.Generator().manual_seed(subject.seed), []
    for start in range(0, len(samples), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(samples)))
        batch = samples.batch(rows, subject.device)
        images = generator.encoded(batch)
        noises = torch.randn(images.shape, generator=random).to(subject.device)
        times = [
            torch.full((len(images),), generator.time_at(share), device=subject.device)
            for share in np.linspace(NOISE_SHARE, 0, STEPS + 1).tolist()
        ]
        x_t = generator.corrupt(images, noises, times[0])
        for t, to in pairwise(times):
            with autocast(subject.device, subject.precision):
                x_t = generator.ddim_step(x_t, t, to, batch.conditions)
        signal, _ = generator.path.alpha_sigma(times[-1])  # not 1 at no noise on a path that keeps the variance
        restored = x_t.float() / spread(signal, x_t)
        batches.append(generator.decoded(restored)[:, 0].clamp(-1, 1).cpu().numpy())
        if progress is not None:
            progress(int(rows[-1]) + 1, len(samples))
    found = np.concatenate(batches)
    return samples.as_slices(found) if isinstance(samples, Stacks) else found
