"""A canary audit of the private training as it runs: what an observer of every update can tell of who was in it.

Canaries are made-up patients whose gradient is the worst there can be: all of the clipping norm on one weight of their
own, so that no two disturb each other. Each is put in by a fair coin and then treated like any patient: sampled,
clipped, summed, noised. What leaves the site in each round, at a canary's weight, is evidence of whether it was in.
Right guesses prove a lower bound on epsilon: one for whatever mechanism (`cmrfed.privacy.canaries`), and two sharper
ones that rest on what else the plan claims (`cmrfed.privacy.curve_audit`). Each is right with its own confidence, not
all three together. The sharpest that applies to the plan, which is known before the run, also decides whether the plan
is refuted, at a confidence of its own: of audits of a plan that is kept one in a thousand refutes it. A refuted plan
proves a fault; one that stands proves nothing, but with one local step a round this observer is as strong as the plan's
threat model allows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp
from scipy.stats import binom
from torch import Tensor

from cmrfed.config import CanaryAuditConfig, TrainingConfig, UserError
from cmrfed.core.progress import Progress
from cmrfed.generators import Generator
from cmrfed.privacy import DistributedNoise, GaussianEvent, LocalNoise, Noised, Random, SecureRandom, epsilon
from cmrfed.privacy.canaries import CanaryBound, audit_canaries
from cmrfed.privacy.curve_audit import BY_CURVE, BY_PLAN, CurveBound, audit_curve, power
from cmrfed.privacy.trade_off import trade_off
from cmrfed.slices import Slices
from cmrfed.training import LocalTask, choose_device, noised_sum, train, trained_weights
from cmrfed.updates import Weights

_GUESSED_PARTS = (0.1, 0.5, 1.0)
"""Parts of the canaries that are guessed: few with much certainty, or all. Fixed beforehand, and paid for by
Bonferroni's correction."""

FALSE_ALARMS = 1e-3
"""Part of the audits of a plan that is kept which may refute it: more would teach to ignore the alarm."""

TOO_LITTLE_NOISE = 0.8
"""A fault that an audit should find: this part of the noise that was planned."""


@dataclass(frozen=True)
class CanaryOutcome:
    """Three lower bounds beside what the plan claims, the verdict, and how likely a fault would have been found.

    `best` holds for any mechanism, `by_curve` for any with a curve of the plan's kind, `by_plan` for such as treat
    canaries independently; None where the plan does not. `refuted` is the verdict, at confidence `refuted_at`. `power`
    is the chance that a fifth less noise than planned is refuted, if the guesses are as good as can be.
    """

    claimed_epsilon: float
    claimed_noise: float
    best: CanaryBound
    by_curve: CurveBound
    by_plan: CurveBound | None
    refuted: bool
    refuted_at: float
    power: float

    @property
    def sharpest(self) -> CurveBound:
        """The bound that decides: which one it is depends on the plan alone."""
        return self.by_plan or self.by_curve

    @property
    def doubtful(self) -> bool:
        """Whether the plan's noise lies outside the bound, which is no verdict yet."""
        noise = self.sharpest.noise_multiplier
        return noise is not None and noise <= self.claimed_noise and not self.refuted

    @property
    def has_power(self) -> bool:
        """Whether a fifth less noise than planned would rather be found than not."""
        return self.power >= 0.5


class Canaries(Sequence[Tensor]):
    """Gradients that are ten times C on one weight each and zero elsewhere, made when asked for."""

    def __init__(self, coordinates: Int[np.ndarray, " canary"], weights: int, max_grad_norm: float) -> None:
        self.coordinates, self.weights, self.size = coordinates, weights, 10 * max_grad_norm

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        direction = torch.zeros(self.weights)
        direction[self.coordinates[index]] = self.size
        return direction


class Noiseless(SecureRandom):
    """A defect to be found: samples as it should and adds no noise."""

    def normal(self, count: int) -> Float[Tensor, " count"]:
        return torch.zeros(count, dtype=torch.float64)


def run_canary_audit(
    generator: Generator,
    sites: Sequence[Slices],
    plan: LocalNoise | DistributedNoise,
    training: TrainingConfig,
    config: CanaryAuditConfig,
    progress: Progress | None = None,
) -> CanaryOutcome:
    """Train as the plan says, with canaries at the first site, and bound epsilon from below.

    `sites` is one data set where the plan's noise is the site's own, else as many as share it. Raises UserError when
    there are fewer trained weights than canaries, CannotBound where the plan's trade-off curve cannot be computed.
    """
    weights = sum(weight.numel() for weight in trained_weights(generator))
    if weights < config.canaries:
        raise UserError(
            f"canary_audit.canaries: {config.canaries} canaries need as many trained weights, and there are {weights}; "
            "lower canary_audit.canaries or train more (generator.directions, or generator.trainable=all)"
        )
    coordinates = np.random.default_rng().choice(weights, config.canaries, replace=False)
    inserted = SecureRandom().bernoulli(0.5, config.canaries).numpy()
    canaries = Canaries(coordinates[inserted], weights, plan.clipping.largest_norm)
    trade_off(plan.event(plan.steps))  # a curve that cannot be computed is known before the training
    scores = np.zeros(config.canaries)
    for done, update in enumerate(_updates(generator, sites, plan, training, canaries, config), start=1):
        scores += evidence(-update[coordinates], plan.event(training.local_steps))
        if progress:
            progress(done, plan.steps // training.local_steps)
    return _conclude(scores, inserted, plan, config)


def evidence(seen: Float[np.ndarray, " canary"], event: GaussianEvent) -> Float[np.ndarray, " canary"]:
    """Log-likelihood ratio of each canary in to out, by what one round left of it at its weight: the more, the larger.

    `event` is the round's. In which unit was seen is told by the spread over all canaries, whatever clipping norm and
    learning rate were. A score may be any function of what was released: were this one wrong, less would be found, and
    nobody accused.
    """
    steps, rate, noise = event.steps, event.sample_rate, event.steps * event.noise_multiplier**2
    spread = float(seen.std())
    if spread == 0:
        return np.zeros_like(seen)
    expected = math.sqrt(noise + steps * rate * (1 - rate) / 2 + (steps * rate) ** 2 / 4)
    taken = np.arange(steps + 1)
    logs = (taken * (expected / spread * seen)[:, None] - taken**2 / 2) / noise
    return np.asarray(logsumexp(logs + binom.logpmf(taken, steps, rate), axis=1))


def _updates(
    generator: Generator,
    sites: Sequence[Slices],
    plan: LocalNoise | DistributedNoise,
    training: TrainingConfig,
    canaries: Canaries,
    config: CanaryAuditConfig,
) -> Iterator[Float[np.ndarray, " weight"]]:
    """What leaves in each round, flat: a site's update, or the sites' sum."""
    rounds = plan.steps // training.local_steps
    for round in range(1, rounds + 1):
        random: Random = SecureRandom() if config.noise else Noiseless()
        task = LocalTask(training=training, plan=plan, round=round, rounds=rounds)
        match plan:
            case LocalNoise():
                yield _flat(train(generator, sites[0], task, canaries=canaries, random=random).update)
            case DistributedNoise():
                yield _distributed_step(generator, sites, task, canaries, random)


def _flat(update: Weights) -> Float[np.ndarray, " weight"]:
    return np.concatenate([part.ravel() for part in update.values()]).astype(np.float64)


def _distributed_step(
    generator: Generator, sites: Sequence[Slices], task: LocalTask, canaries: Canaries, random: Random
) -> Float[np.ndarray, " weight"]:
    """The sum of the sites' contributions, as secure aggregation would give it; of colluders and dropouts, nothing.

    Only as many sites as must be honest add theirs: that is what the plan's epsilon is for.
    """
    plan, clipping, device = task.private_plan, task.clipping, choose_device(task.training.device)
    generator.to(device).train()
    shares = [
        noised_sum(generator, own, task.training, plan, clipping, random, device, canaries if number == 0 else ())
        for number, own in enumerate(sites[: plan.shares])
    ]
    total = Noised(torch.stack(list(shares)).sum(0))
    gradient, _ = plan.split(plan.mean(total, clipping, len(sites)), clipping)
    return -task.learning_rate * gradient.numpy()


def _conclude(
    scores: Float[np.ndarray, " canary"],
    inserted: Bool[np.ndarray, " canary"],
    plan: LocalNoise | DistributedNoise,
    config: CanaryAuditConfig,
) -> CanaryOutcome:
    event, error = plan.event(plan.steps), min(FALSE_ALARMS, 1 - config.confidence)
    method = BY_PLAN if _independent(plan) else BY_CURVE
    by_curve, decides = (
        audit_curve(one, scores, inserted, event, plan.delta, config.confidence) for one in (BY_CURVE, method)
    )
    curve, counted = trade_off(event), (decides.canaries, decides.guesses, decides.correct)
    weaker = trade_off(event.model_copy(update={"noise_multiplier": TOO_LITTLE_NOISE * event.noise_multiplier}))
    return CanaryOutcome(
        claimed_epsilon=epsilon([event], plan.delta, plan.accountant),
        claimed_noise=event.noise_multiplier,
        best=audit_best(scores, inserted, plan.delta, config.confidence),
        by_curve=by_curve,
        by_plan=decides if method is BY_PLAN else None,
        refuted=method.refutes(curve, *counted, error),
        refuted_at=1 - error,
        power=power(method, config.canaries, curve, weaker, error),
    )


def _independent(plan: LocalNoise | DistributedNoise) -> bool:
    """Whether nothing that is released mixes canaries: an adaptive norm is moved by all of them together."""
    return plan.clipping.adaptive is None


def audit_best(
    scores: Float[np.ndarray, " canary"], inserted: Bool[np.ndarray, " canary"], delta: float, confidence: float
) -> CanaryBound:
    """The largest of `audit_canaries`' bounds over several numbers of guesses."""
    each = 1 - (1 - confidence) / len(_GUESSED_PARTS)
    counts = [2 * round(part * len(scores) / 2) for part in _GUESSED_PARTS]
    results = [audit_canaries(scores, inserted, count, delta, each) for count in counts]
    return max(results, key=lambda result: result.epsilon_lower)
