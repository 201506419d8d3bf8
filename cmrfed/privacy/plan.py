"""The mechanism as one frozen object, from which sampler, clipping, noise, scaling and the accountant's event are made.

One step at a site releases

    g = ( sum over sampled patients p of clip_C(g_p)  +  N(0, (sigma C)^2 I) ) / B

where g_p is the mean gradient over slices of patient p, clip_C bounds it by C (`cmrfed.privacy.clipping`), each patient
is sampled independently with probability q, and B = q * declared_patients is a public constant (DP-SGD, Abadi et al.
2016, arXiv:1607.00133, with the patient as the unit as in McMahan et al. 2018, arXiv:1710.06963). Adding or removing
one patient changes the sum by at most C whatever else is in it, so that the accountant's event is exact.

With distributed noise, n sites take the step together and only the sum over the sites is ever seen (secure
aggregation). Each adds a share N(0, (sigma C)^2 / m), m = n - dropouts - colluders: whichever sites fail or side with
the server, what is left of the noise is at least N(0, (sigma C)^2), and the sum is one step of DP-SGD on the pooled
patients.

A run's plan is one of three (`Plan`): `NoPrivacy`, `LocalNoise` or `DistributedNoise`.

Every noised value is rounded to a grid before it leaves, which costs nothing (`cmrfed.privacy.rounding` says why).
"""

import math
from typing import Annotated, Literal

from jaxtyping import Float64, Int
from pydantic import Field, model_validator
from torch import Tensor

from cmrfed.config import FederationConfig, PrivacyConfig, Stage, TrainingConfig, read_stage
from cmrfed.privacy.accounting import GaussianEvent, Noise, Trial, calibrate_noise, epsilon
from cmrfed.privacy.clipping import Clipping
from cmrfed.privacy.randomness import Random, SecureRandom, SeededRandom
from cmrfed.privacy.rounding import GRID
from cmrfed.privacy.states import Clipped, Noised


class NoPrivacy(Stage):
    """No mechanism at all: gradients are neither clipped nor noised, and nothing is promised."""

    noise: Literal["none"] = "none"

    def among(self, sites: int, privacy: PrivacyConfig) -> "NoPrivacy":
        """The plan among so many sites: the same."""
        return self

    @property
    def private(self) -> bool:
        return False

    @property
    def guaranteed(self) -> bool:
        return False


class PrivacyPlan(Stage):
    """All of a site's mechanism over a whole federation; public, frozen, and the same at every site.

    `steps` counts all steps of all rounds. `seed` is None where the guarantee is meant to hold. What is here is the
    same whoever adds the noise, which the two kinds below say.
    """

    noise: Noise
    unit: Literal["patient"] = "patient"
    sample_rate: float = Field(ge=1e-4, le=1)
    noise_multiplier: float = Field(gt=0, le=1e4)
    clipping: Clipping
    declared_patients: int = Field(ge=1, le=10_000_000)
    steps: int = Field(ge=1, le=10_000_000)
    delta: float = Field(gt=0, lt=1)
    target_epsilon: float = Field(gt=0)
    accountant: Literal["prv", "rdp"] = "prv"
    seed: int | None = None

    @property
    def shares(self) -> int:
        """Into how many independent shares the noise is cut."""
        return 1

    @property
    def private(self) -> bool:
        """Whether gradients are clipped and noised."""
        return True

    @property
    def guaranteed(self) -> bool:
        """Whether epsilon holds: whoever knows a seed can take its noise away."""
        return self.seed is None

    @property
    def expected_batch_size(self) -> float:
        """Patients of a site that a step is planned to sample: public, never counted in the data."""
        return self.sample_rate * self.declared_patients

    def event(self, steps: int) -> GaussianEvent:
        """What `steps` steps release, for the accountant."""
        return GaussianEvent(
            sample_rate=self.sample_rate,
            noise_multiplier=self.noise_multiplier,
            steps=steps,
            noise=self.noise,
        )

    def random(self, *stream: int, key: bytes | None = None) -> Random:
        """The source of sampling and noise: secure, under `key` or a fresh one, unless a test set a seed (`stream` then
        tells sites and rounds)."""
        return SecureRandom(key) if self.seed is None else SeededRandom(self.seed, *stream)

    def sample_patients(self, number_of_patients: int, random: Random) -> Int[Tensor, " sampled"]:
        """A Poisson sample: each patient independently with probability `sample_rate`; possibly none, possibly all."""
        return random.bernoulli(self.sample_rate, number_of_patients).nonzero().flatten()

    def noised(self, clipped_sum: Clipped, clipping: Clipping, random: Random) -> Noised:
        """A site's sum with its share of the noise, in units of the grid.

        The one point where anything of the patients becomes releasable: at once, or under secure aggregation where
        the noise is distributed. `clipping` is the plan's at its current norm.
        """
        share = self._scale(clipping) / math.sqrt(self.shares)
        noised = random.normal(clipped_sum.numel()).mul_(share).add_(clipped_sum.cpu())
        return Noised(noised.div_(self._scale(clipping) * GRID).round_().long())

    def mean(self, total: Noised, clipping: Clipping, sites: int = 1) -> Float64[Tensor, " coordinate"]:
        """The noised mean gradient from the sum over `sites` of what `noised` gave; public arithmetic."""
        return total.double().mul_(self._scale(clipping) * GRID / (self.expected_batch_size * sites))

    def mean_noise(self, clipping: Clipping, sites: int = 1) -> float:
        """Standard deviation of the noise in each coordinate of that mean, where `sites` gave their share of it."""
        return self._scale(clipping) * math.sqrt(sites / self.shares) / (self.expected_batch_size * sites)

    def _scale(self, clipping: Clipping) -> float:
        """Standard deviation of a step's noise in all."""
        return self.noise_multiplier * clipping.max_grad_norm

    def split(
        self, mean: Float64[Tensor, " coordinate"], clipping: Clipping
    ) -> tuple[Float64[Tensor, " weight"], Clipping]:
        """The gradient, and the clipping of the next step; with adaptive clipping the last coordinate decides it."""
        if clipping.adaptive is None:
            return mean, clipping
        return mean[:-1], clipping.moved(float(mean[-1]), self.clipping.max_grad_norm)


class LocalNoise(PrivacyPlan):
    """Each site adds all the noise to its own sum, so that nobody need be trusted."""

    noise: Literal["local"] = "local"

    @classmethod
    def calibrated(
        cls,
        privacy: PrivacyConfig,
        federation: FederationConfig,
        training: TrainingConfig,
        report: Trial | None = None,
    ) -> "LocalNoise":
        """The plan of a configuration, its noise calibrated to the whole federation before anything runs.

        A configured `noise_multiplier` is taken as it is, and `target_epsilon` becomes what it costs. Who shares the
        noise is not known yet: see `among`. `report` is told of every noise multiplier that is tried. Raises
        UserError when no noise reaches the target.
        """
        steps = federation.rounds * training.local_steps
        sigma, target = privacy.noise_multiplier, privacy.target_epsilon
        if sigma is None:
            sigma = calibrate_noise(target, privacy.delta, privacy.sample_rate, steps, privacy.accountant, report)
        else:
            event = GaussianEvent(sample_rate=privacy.sample_rate, noise_multiplier=sigma, steps=steps)
            target = epsilon([event], privacy.delta, privacy.accountant)
        same = ("sample_rate", "declared_patients", "delta", "accountant", "seed")
        return cls(
            noise_multiplier=sigma,
            target_epsilon=target,
            steps=steps,
            clipping=Clipping(max_grad_norm=privacy.max_grad_norm, rule=privacy.clipping, adaptive=privacy.adaptive),
            **{name: getattr(privacy, name) for name in same},
        )

    def among(self, sites: int, privacy: PrivacyConfig) -> "LocalNoise | DistributedNoise":
        """The plan among so many sites: in mode "distributed" they share the noise, else nothing changes.

        Raises UserError when so few sites cannot tolerate the configured dropouts and colluders.
        """
        if privacy.mode != "distributed":
            return self
        among = {"sites": sites, "dropouts": privacy.dropouts, "colluders": privacy.colluders}
        return read_stage(DistributedNoise, self.model_dump() | among | {"noise": "distributed"}, where="privacy")


class DistributedNoise(PrivacyPlan):
    """`sites` in all add a share of the noise each, of which some may fail in a round or side with the server."""

    noise: Literal["distributed"] = "distributed"
    sites: int = Field(ge=2)
    dropouts: int = Field(default=0, ge=0)
    colluders: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _two_quorums_always_meet(self) -> "DistributedNoise":
        if self.sites <= 2 * self.dropouts + self.colluders:
            raise ValueError(
                f"privacy.dropouts, privacy.colluders: {self.sites} sites cannot tolerate {self.dropouts} dropouts and "
                f"{self.colluders} colluders; secure aggregation needs sites > 2 dropouts + colluders"
            )
        return self

    @property
    def shares(self) -> int:
        """Honest shares of noise that are in the sum at the very least."""
        return self.sites - self.dropouts - self.colluders

    @property
    def quorum(self) -> int:
        """Sites that must take part, or the round reveals nothing."""
        return self.sites - self.dropouts

    @property
    def alone(self) -> LocalNoise:
        """What the plan is worth to a patient by the own site's share of the noise: were secure aggregation broken."""
        values = self.model_dump(exclude={"noise", "sites", "dropouts", "colluders"})
        return LocalNoise(**values | {"noise_multiplier": self.noise_multiplier / math.sqrt(self.shares)})


Plan = Annotated[NoPrivacy | LocalNoise | DistributedNoise, Field(discriminator="noise")]
"""What a run promises its patients, and by whose noise. In JSON, `noise` says which of the three it is."""
