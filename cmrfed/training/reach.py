"""How far an honest site's answer can reach, from what it was asked alone: whoever goes farther is not one.

With Adam it is a matter of arithmetic. Step t moves a weight by

    lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps),
    m = (1 - b1) sum_i b1^(t-i) g_i,    v = (1 - b2) sum_i b2^(t-i) g_i^2,

and by Cauchy and Schwarz |m| <= (1 - b1) sqrt(1 + r + ... + r^(t-1)) sqrt(v / (1 - b2)) with r = b1^2 / b2. Hence,
whatever the gradients were, and whatever privacy did to them,

    |step| <= lr (1 - b1) / (1 - b1^t) sqrt((1 - b2^t) / (1 - b2) (1 - r^t) / (1 - r)),

which is lr at first and 7.3 lr in the end; gradients that grow by b2 / b1 each step come up to it. (Kingma and Ba's
(1 - b1) / sqrt(1 - b2) = 3.2, arXiv:1412.6980, is for one gradient among zeros and bounds nothing else.)

Plain descent goes by the gradients. The mean gradients of T steps add up to (S + Z) / B, where

- |S| <= C K, and K, how often a patient was sampled, is binomial with mean m = T q n, n at most `MOST_PATIENTS` times
  the declared patients. By Bernstein K <= m + x / 3 + sqrt((x / 3)^2 + 2 m x) but for a chance of e^-x.
- Z is the noise, N(0, (sigma C)^2) in each of d entries and each step. But for e^-x each, no entry of any step exceeds
  sigma C sqrt(2 (x + log(2 d T))), and no step's norm sigma C (sqrt(d) + sqrt(2 (x + log T))) (Laurent and Massart
  2000, lemma 1). Steps are added up by their size, since adaptive clipping lets C follow the noise.

Where n sites take a distributed step, K and B are over all of them, and sigma^2 is n shares'. C is the largest that
adaptive clipping can have come to. x is chosen so that over a whole run of a thousand sites no honest one is
beyond its reach but for a chance of `FAILURE`. Every bound has a part in a thousand more, for the grid that noise is
rounded to (half of 2^-10 sigma C) and for single precision.
"""

import math
from dataclasses import dataclass

from cmrfed.config import MessageConfig
from cmrfed.privacy import NoPrivacy, PrivacyPlan
from cmrfed.training.local import LocalTask

MOST_PATIENTS = 100
"""A site may have that many times the declared patients. With more, each of its steps would be a hundred times the size
that the learning rate was chosen for."""
FAILURE = 1e-12
LARGEST_PLAIN_GRADIENT = 1e4
"""The largest norm of a gradient of descent without privacy, which nothing bounds; a loss begins near 1."""

_BETAS = (0.9, 0.999)
_MARGIN = 1 + 1e-3


@dataclass(frozen=True)
class Reach:
    """The largest size of an entry, and the largest Euclidean norm of all entries together."""

    entry: float
    norm: float

    def holds(self, entry: float, norm: float) -> bool:
        """Whether both are within; what is not a number is not."""
        return entry <= self.entry and norm <= self.norm

    def __mul__(self, factor: float) -> "Reach":
        return Reach(self.entry * factor, self.norm * factor)

    def __add__(self, other: "Reach") -> "Reach":
        return Reach(self.entry + other.entry, self.norm + other.norm)


def norm_range(task: LocalTask) -> tuple[float, float]:
    """(Least, largest) clipping norm that a site can come to in a round; equal where the norm does not move."""
    clipping = task.clipping
    if clipping.adaptive is None:
        return clipping.max_grad_norm, clipping.max_grad_norm
    start, range_ = task.private_plan.clipping.max_grad_norm, clipping.adaptive.range
    factor = math.exp(clipping.adaptive.learning_rate * task.training.local_steps)
    least = max(start / range_, clipping.max_grad_norm / factor)
    return least, min(start * range_, clipping.max_grad_norm * factor)


def update_reach(task: LocalTask, entries: int, largest_weight: float) -> Reach:
    """Of the update that a site sends after a round: `entries` trained weights, none above `largest_weight` before.

    The update is a difference of weights in single precision, each step of which is rounded.
    """
    steps, rate = task.training.local_steps, task.learning_rate
    if task.training.optimizer == "adam":
        entry = sum(map(_adam_step, range(1, steps + 1)))
        reach = Reach(entry, entry * math.sqrt(entries)) * (rate * _MARGIN)
    elif isinstance(task.plan, NoPrivacy):
        reach = Reach(LARGEST_PLAIN_GRADIENT, LARGEST_PLAIN_GRADIENT) * (rate * steps)
    else:
        reach = gradient_reach(task, task.plan, entries) * rate
    rounded = (steps + 1) * 2.0**-23 * (largest_weight + reach.entry)
    return Reach(reach.entry + rounded, reach.norm + rounded * math.sqrt(entries))


def sent_reach(task: LocalTask, messages: MessageConfig, entries: int, largest_weight: float) -> Reach:
    """Of what a site sends of its update (`cmrfed.compression`).

    Rounding to whole multiples of a scale moves each entry by half of it at most, and none beyond the largest. What
    has not been sent of earlier rounds' updates is no longer than these together.
    """
    reach = update_reach(task, entries, largest_weight)
    match messages.compression:
        case "none":
            return reach
        case "int8":
            return reach + Reach(0.0, reach.entry / (2 * 127) * math.sqrt(entries))
        case "top_k":
            earlier = (update_reach(_at(task, round), entries, largest_weight) for round in range(1, task.round))
            return sum(earlier, start=reach)


def _at(task: LocalTask, round: int) -> LocalTask:
    """An earlier round's task; where its norm stood is not known, but how far it may have gone."""
    norm = None if isinstance(task.plan, NoPrivacy) else task.plan.clipping.largest_norm
    return task.model_copy(update={"round": round, "max_grad_norm": norm})


def gradient_reach(task: LocalTask, plan: PrivacyPlan, entries: int, sites: int = 1) -> Reach:
    """Of a round's noised mean gradients, added up; over `sites` sites where their noise is distributed."""
    steps, norm = task.training.local_steps, norm_range(task)[1]
    spare = math.log(3 * 1000 * task.rounds / FAILURE)
    batch = plan.expected_batch_size * sites
    mean = steps * MOST_PATIENTS * batch
    sampled = mean + spare / 3 + math.sqrt((spare / 3) ** 2 + 2 * mean * spare)
    noise = steps * plan.noise_multiplier * math.sqrt(sites / plan.shares)
    entry = sampled + noise * math.sqrt(2 * (spare + math.log(2 * entries * steps)))
    whole = sampled + noise * (math.sqrt(entries) + math.sqrt(2 * (spare + math.log(steps))))
    return Reach(entry, whole) * (norm / batch * _MARGIN)


def _adam_step(step: int) -> float:
    """The largest size of that step, in units of the learning rate."""
    first, second = _BETAS
    ratio = first**2 / second
    squares = (1 - second**step) / (1 - second) * (1 - ratio**step) / (1 - ratio)
    return (1 - first) / (1 - first**step) * math.sqrt(squares)
