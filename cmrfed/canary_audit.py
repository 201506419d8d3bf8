"""A canary audit of the private training as it runs: what an observer of every update can tell of who was in it.

Canaries are made-up patients whose gradient is the worst there can be: all of the clipping norm on one weight of their
own, so that no two disturb each other. Each is put in by a fair coin and then treated like any patient: sampled,
clipped, summed, noised. What left the site over all rounds, at the weights' places, is each canary's score, and
`cmrfed.privacy.canaries` turns right guesses into a lower bound on epsilon. A bound above the plan's epsilon proves a
fault; one below proves nothing, but this observer is as strong as the plan's own threat model allows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cmrfed.config import CanaryAuditConfig, TrainingConfig, UserError
from cmrfed.core.progress import Progress
from cmrfed.generators import Generator
from cmrfed.privacy import DistributedNoise, LocalNoise, Noised, Random, SecureRandom, epsilon
from cmrfed.privacy.canaries import CanaryBound, audit_canaries, epsilon_lower_bound
from cmrfed.slices import Slices
from cmrfed.training import LocalTask, choose_device, noised_sum, train, trained_weights
from cmrfed.updates import Weights

_GUESSED_PARTS = (0.1, 0.5, 1.0)
"""Parts of the canaries that are guessed: few with much certainty, or all. Fixed beforehand, and paid for by
Bonferroni's correction."""


@dataclass(frozen=True)
class CanaryOutcome:
    """The largest lower bound of all tries, beside what the plan claims and what the audit could have shown at most."""

    best: CanaryBound
    claimed_epsilon: float
    largest_possible: float

    @property
    def refuted(self) -> bool:
        """Whether the claim is wrong, but for the audit's confidence."""
        return self.best.epsilon_lower > self.claimed_epsilon

    @property
    def has_power(self) -> bool:
        """Whether any outcome at all could have refuted the claim."""
        return self.largest_possible > self.claimed_epsilon


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
    there are fewer trained weights than canaries.
    """
    weights = sum(weight.numel() for weight in trained_weights(generator))
    if weights < config.canaries:
        raise UserError(
            f"canary_audit.canaries: {config.canaries} canaries need as many trained weights, and there are {weights}; "
            "lower canary_audit.canaries or train more (generator.trainable=all)"
        )
    coordinates = np.random.default_rng().choice(weights, config.canaries, replace=False)
    inserted = SecureRandom().bernoulli(0.5, config.canaries).numpy()
    canaries = Canaries(coordinates[inserted], weights, plan.clipping.largest_norm)
    moved = np.zeros(weights)
    for done, update in enumerate(_updates(generator, sites, plan, training, canaries, config), start=1):
        moved += update
        if progress:
            progress(done, plan.steps // training.local_steps)
    return _conclude(-moved[coordinates], inserted, plan, config)


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
    confidence = 1 - (1 - config.confidence) / len(_GUESSED_PARTS)
    counts = [2 * round(part * config.canaries / 2) for part in _GUESSED_PARTS]
    results = [audit_canaries(scores, inserted, count, plan.delta, confidence) for count in counts]
    return CanaryOutcome(
        best=max(results, key=lambda result: result.epsilon_lower),
        claimed_epsilon=epsilon([plan.event(plan.steps)], plan.delta, plan.accountant),
        largest_possible=max(
            epsilon_lower_bound(config.canaries, count, count, plan.delta, confidence) for count in counts
        ),
    )
