"""What an attacker asks of a generator about some patients' slices, and what they may share of the answers.

Attacks speak of noise shares (`cmrfed.generators.path`), so that each serves every path from noise to image. Every
slice of every patient meets the same noise shares and the same noises, decided by a seed alone: members and non-members
differ in nothing but themselves, and a patient's score does not depend on who else is scored or in which order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cmrfed.batches import Batch, Conditions, hidden
from cmrfed.generators import Denoiser
from cmrfed.shapes import Image, Latent, Mask
from cmrfed.training import autocast

T = TypeVar("T")

CLEAN_SHARE = 0.1
"""Noise share at which an image counts as clean: flows are hardly trained any nearer to the image."""
SECRET_SHARE = 0.4
"""Noise share up to which images are inverted: beyond it even members are not reconstructed."""


@dataclass(frozen=True)
class PatientSlices:
    """Slices, their conditions, and which patient each slice is of (any integers)."""

    batch: Batch
    patients: Int[Tensor, " slice"]

    @property
    def images(self) -> Latent:
        return self.batch.images

    @property
    def masks(self) -> Mask:
        return self.batch.masks

    @property
    def conditions(self) -> Conditions:
        return self.batch.conditions


@dataclass(frozen=True, eq=False)
class Probe:
    """A generator and the slices it is asked about; answers that several attacks need are computed once.

    times, draws: noise shares (k + 1/2) / times of the loss curve, and noises at each. inversion_steps: steps from
    the image to SECRET_SHARE. device, precision, batch_size: where and how the network is evaluated.
    Raises ValueError without slices.
    """

    generator: Denoiser
    slices: PatientSlices
    times: int = 8
    draws: int = 1
    inversion_steps: int = 4
    seed: int = 0
    batch_size: int = 64
    device: torch.device = field(default_factory=partial(torch.device, "cpu"))
    precision: str = "fp32"
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.slices.images) == 0:
            raise ValueError("an attack needs at least one slice")
        self.generator.to(self.device).eval()

    def once(self, question: Callable[["Probe"], T]) -> T:
        """question(self), answered at the first call and kept for whoever asks again."""
        if question not in self._kept:
            self._kept[question] = question(self)
        return self._kept[question]

    @cached_property
    def noises(self) -> Float[Tensor, "time draw channel ..."]:
        """The noises of the loss curve: the same for every slice."""
        stream = torch.Generator().manual_seed(self.seed)
        return torch.randn((self.times, self.draws, *self.slices.images.shape[1:]), generator=stream)

    @cached_property
    def noise_shares(self) -> list[float]:
        """The noise shares of the loss curve, ascending."""
        return [(time + 0.5) / self.times for time in range(self.times)]

    @cached_property
    def loss_curve(self) -> Float[Tensor, "slice time"]:
        """The training loss at every noise share, the mean over noises, conditions given."""
        return self.losses_over_times(kept=True)

    @cached_property
    def clean_noise(self) -> Latent:
        """The noise that the network sees where there is none, at CLEAN_SHARE."""
        return self.predicted_noise(self.scaled(CLEAN_SHARE), CLEAN_SHARE)

    @cached_property
    def inversion_path(self) -> list[float]:
        """Noise shares from CLEAN_SHARE to SECRET_SHARE in `inversion_steps` equal steps, and one step beyond."""
        width = (SECRET_SHARE - CLEAN_SHARE) / self.inversion_steps
        return [CLEAN_SHARE + step * width for step in range(self.inversion_steps + 2)]

    @cached_property
    def inverted(self) -> Latent:
        """Each image carried deterministically along `inversion_path`, up to SECRET_SHARE."""
        return self.carried(self.scaled(CLEAN_SHARE), self.inversion_path[:-1])

    def losses_over_times(self, kept: bool) -> Float[Tensor, "slice time"]:
        """As `loss_curve`; with `kept` False the network is given neither mask nor condition."""
        columns = [
            torch.stack([self.losses(share, noise, kept) for noise in noises]).mean(0)
            for share, noises in zip(self.noise_shares, self.noises, strict=True)
        ]
        return torch.stack(columns, dim=1)

    def losses(
        self,
        noise_share: float,
        noise: Float[Tensor, "channel ..."],
        kept: bool = True,
        altered: Callable[[Latent, Mask], tuple[Latent, Mask]] = lambda images, masks: (images, masks),
    ) -> Float[Tensor, " slice"]:
        """Every slice's training loss at one noise share with one noise, of slices `altered` beforehand."""

        def ask(images: Latent, conditions: Conditions) -> Float[Tensor, " batch"]:
            images, masks = altered(images, conditions["mask"])
            told = _told(conditions | {"mask": masks}, kept)
            noises = noise.to(images).expand_as(images)
            return self.generator.losses_at(images, noises, self._times(images, noise_share), told)

        return self.over_slices(ask)

    def scaled(self, noise_share: float) -> Latent:
        """The images as they are at a noise share, but without the noise: signal x."""
        signal, _ = self.alpha_sigma(noise_share)
        return signal * self.slices.images

    def noised(self, noises: Latent, noise_share: float) -> Latent:
        """signal x + noise e, with an e for each slice."""
        _, noise = self.alpha_sigma(noise_share)
        return self.scaled(noise_share) + noise * noises

    def predicted_noise(self, x_t: Latent, noise_share: float, kept: bool = True) -> Latent:
        """The unit noise that the network sees in x_t, one of which is given for each slice."""

        def ask(x_t: Latent, conditions: Conditions) -> Latent:
            t = self._times(x_t, noise_share)
            return self.generator.predict_x0_eps(x_t, t, _told(conditions, kept)).noise

        return self.over_slices(ask, x_t)

    def carried(self, x_t: Latent, path: list[float]) -> Latent:
        """x_t carried deterministically from the first noise share of a path to the last, one step for each pair."""

        def ask(x_t: Latent, conditions: Conditions) -> Latent:
            for share, following in pairwise(path):
                t, to = (self._times(x_t, one) for one in (share, following))
                x_t = self.generator.ddim_step(x_t, t, to, conditions)
            return x_t

        return self.over_slices(ask, x_t)

    def pictures(self, latents: Latent) -> Image:
        """The images of latents, one for each slice."""
        return self.over_slices(lambda some, _: self.generator.decoded(some), latents)

    @torch.no_grad()
    def over_slices(
        self, ask: Callable[[Latent, Conditions], Tensor], images: Latent | None = None
    ) -> Float[Tensor, "slice ..."]:
        """Answers to `ask` about all slices, batch by batch on the device; float32 on the CPU.

        `images` takes the place of the slices' own.
        """
        answers = []
        asked = self.slices.batch if images is None else self.slices.batch._replace(images=images)
        for start in range(0, asked.size, self.batch_size):
            some = asked.rows(start, start + self.batch_size).to(self.device)
            with autocast(self.device, self.precision):
                answers.append(ask(some.images, some.conditions).float().cpu())
        return torch.cat(answers)

    def patient_means(self, values: Float[Tensor, "slice ..."]) -> Float[np.ndarray, "patient ..."]:
        """Each patient's mean over its slices, by ascending patient number.

        Raises ValueError where a value is not finite: its rank would mean nothing.
        """
        if not values.isfinite().all():
            raise ValueError("the generator's answer is not finite on some slices; an attack cannot rank its patients")
        _, index, counts = np.unique(self.slices.patients.numpy(), return_inverse=True, return_counts=True)
        sums = np.zeros((len(counts), *values.shape[1:]))
        np.add.at(sums, index, values.double().numpy())
        return sums / counts.reshape(-1, *[1] * (values.ndim - 1))

    def alpha_sigma(self, noise_share: float) -> tuple[float, float]:
        """(signal, noise) at the time nearest to a noise share."""
        t = torch.tensor([self.generator.time_at(noise_share)], device=self.device)
        signal, noise = self.generator.alpha_sigma(t)
        return float(signal), float(noise)

    def _times(self, images: Latent, noise_share: float) -> Float[Tensor, " batch"]:
        return torch.full((len(images),), self.generator.time_at(noise_share), device=images.device)


def _told(conditions: Conditions, kept: bool) -> Conditions:
    """The conditions, or that nothing is known."""
    masks = conditions["mask"]
    return conditions if kept else hidden(conditions, torch.ones(len(masks), dtype=torch.bool, device=masks.device))
