"""The mechanism as one frozen object, from which sampler, clipping, noise, scaling and the accountant's event are made.

One step at a site releases

    g = ( sum over sampled patients p of clip_C(g_p)  +  N(0, (sigma C)^2 I) ) / B

where g_p is the mean gradient over slices of patient p, clip_C(g) = g min(1, C / |g|), each patient is sampled
independently with probability q, and B = q * declared_patients is a public constant (DP-SGD, Abadi et al. 2016,
arXiv:1607.00133, with the patient as the unit as in McMahan et al. 2018, arXiv:1710.06963). Adding or removing one
patient changes the sum by at most C whatever else is in it, so that the accountant's event is exact.
"""

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from cmrfed.config import FederationConfig, PrivacyConfig, Stage, TrainingConfig
from cmrfed.privacy.accounting import GaussianEvent, calibrate_noise, epsilon
from cmrfed.privacy.randomness import Random, SecureRandom, SeededRandom

_GRID = 2.0**-20
"""Released sums are rounded to this part of sigma C: no low bit of a double may tell what the noise was added to."""


class PrivacyPlan(Stage):
    """All of a site's mechanism over a whole federation; public, frozen, and the same at every site.

    `steps` counts all steps of all rounds. `seed` is None where the guarantee is meant to hold.
    """

    sample_rate: float = Field(gt=0, le=1)
    noise_multiplier: float = Field(gt=0)
    max_grad_norm: float = Field(gt=0)
    declared_patients: int = Field(ge=1)
    minimum_patients: int = Field(ge=1)
    steps: int = Field(ge=1)
    delta: float = Field(gt=0, lt=1)
    target_epsilon: float = Field(gt=0)
    accountant: str = "prv"
    seed: int | None = None

    @classmethod
    def calibrated(
        cls, privacy: PrivacyConfig, federation: FederationConfig, training: TrainingConfig
    ) -> "PrivacyPlan":
        """The plan of a configuration, its noise calibrated to the whole federation before anything runs.

        A configured `noise_multiplier` is taken as it is, and `target_epsilon` becomes what it costs.
        Raises UserError when no noise reaches the target.
        """
        steps = federation.rounds * training.local_steps
        sigma, target = privacy.noise_multiplier, privacy.target_epsilon
        if sigma is None:
            sigma = calibrate_noise(target, privacy.delta, privacy.sample_rate, steps, privacy.accountant)
        else:
            event = GaussianEvent(sample_rate=privacy.sample_rate, noise_multiplier=sigma, steps=steps)
            target = epsilon([event], privacy.delta, privacy.accountant)
        shared = privacy.model_dump(exclude={"mode", "noise_multiplier", "target_epsilon"})
        return cls(noise_multiplier=sigma, target_epsilon=target, steps=steps, **shared)

    @property
    def expected_batch_size(self) -> float:
        """Patients a step is planned to sample: public, never counted in the data."""
        return self.sample_rate * self.declared_patients

    def event(self, steps: int) -> GaussianEvent:
        """What `steps` steps release, for the accountant."""
        return GaussianEvent(sample_rate=self.sample_rate, noise_multiplier=self.noise_multiplier, steps=steps)

    def random(self, *stream: int) -> Random:
        """The source of sampling and noise: secure, unless a test set a seed (`stream` then tells sites and rounds)."""
        return SecureRandom() if self.seed is None else SeededRandom(self.seed, *stream)

    def sample_patients(self, number_of_patients: int, random: Random) -> Int[Tensor, " sampled"]:
        """A Poisson sample: each patient independently with probability `sample_rate`; possibly none, possibly all."""
        return random.bernoulli(self.sample_rate, number_of_patients).nonzero().flatten()

    def clip_factor(self, norm: Tensor) -> Tensor:
        """min(1, C / norm) for a patient's gradient norm; 0 where the norm is not finite, which drops the patient."""
        factor = (self.max_grad_norm / norm.clamp_min(1e-30)).clamp(max=1.0)
        return torch.where(norm.isfinite(), factor, torch.zeros_like(factor))

    def release(self, clipped_sum: Float[Tensor, " weight"], random: Random) -> Float[Tensor, " weight"]:
        """The noised mean of a step: the one point where anything of the patients becomes releasable."""
        scale = self.noise_multiplier * self.max_grad_norm
        grid = scale * _GRID
        noised = random.normal(clipped_sum.numel()).mul_(scale).add_(clipped_sum.cpu())
        rounded = noised.div_(grid).round_().mul_(grid)
        return rounded.div_(self.expected_batch_size).to(clipped_sum)
