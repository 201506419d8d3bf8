"""Attacks with shadow models: generators trained like the target on patients that the attacker chose.

A patient who is hard to draw has a high loss whether or not they were trained on; what shadows that never saw the
patient score says how high, and the target's loss is judged against that.

- Offline LiRA (Carlini et al., S&P 2022, arXiv:2112.03570): score = (l - mu_out) / sigma, with l minus the target's
  loss, mu_out its mean over the shadows without the patient, and one sigma for all, since shadows are few.
- Offline RMIA (Zarifzadeh et al., ICML 2024, arXiv:2312.03262): score = P_z[ratio(x) >= gamma ratio(z)] over a
  population z of known non-members, ratio(x) = p(x | target) / ((1 + a) / 2 p_out(x) + (1 - a) / 2), gamma = 1. A
  generator has no p in [0, 1]; exp(-loss) takes its place. The paper's model of training, p_in = a p_out + 1 - a, gives
  a from the shadows, which did see half of the patients.

`cmrfed.evaluation.leakage.attacks.gradient_shadow` reads the same shadows' gradients.

Shadows share with the target the public start, the architecture, the weights that are trained and, in part, the
patients; not the federation, not privacy, and of each patient they see only the scored slices.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from cmrfed.config import TrainingConfig
from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.gradient import gradient_logs
from cmrfed.evaluation.leakage.attacks.loss_threshold import loss_scores
from cmrfed.evaluation.leakage.attacks.probe import Probe
from cmrfed.generators import Generator
from cmrfed.privacy import NoPrivacy
from cmrfed.slices import Slices
from cmrfed.training import LocalTask, train


@dataclass(frozen=True)
class Answers:
    """What a model, or each of several, answers about the same patients.

    losses: mean losses. gradients: logarithms of the gradient's norm by trained weight tensor; None where no attack
    wants them, for they cost a backward pass for every slice.
    """

    losses: Float[np.ndarray, "*model patient"]
    gradients: Float[np.ndarray, "*model patient layer"] | None = None

    @classmethod
    def of(cls, probe: Probe, gradients: bool) -> "Answers":
        """One model's answers."""
        return cls(-loss_scores(probe), gradient_logs(probe) if gradients else None)

    @classmethod
    def stacked(cls, models: Sequence["Answers"]) -> "Answers":
        """Several models' answers as one."""
        asked = [one.gradients for one in models if one.gradients is not None]
        return cls(np.array([one.losses for one in models]), np.array(asked) if asked else None)


@dataclass(frozen=True)
class Shadows:
    """What the target and every shadow answer about the same patients.

    trained_on: which shadows saw whom. population: patients known not to be members, whom RMIA compares with; none of
    them may be among those whom its scores are tested on.
    """

    target: Answers
    shadows: Answers
    trained_on: Bool[np.ndarray, "shadow patient"]
    population: Bool[np.ndarray, " patient"]

    @property
    def outside(self) -> Float[np.ndarray, "shadow patient"]:
        """Losses under the shadows that did not see the patient; NaN elsewhere."""
        return np.where(self.trained_on, np.nan, self.shadows.losses)


def lira_scores(shadows: Shadows) -> Float[np.ndarray, " patient"]:
    """How many standard deviations the target's loss lies below that of shadows without the patient."""
    mean = np.nanmean(shadows.outside, axis=0)
    spread = np.sqrt(np.nanmean((shadows.outside - mean) ** 2))
    return (mean - shadows.target.losses) / max(float(spread), 1e-12)


def rmia_scores(shadows: Shadows) -> Float[np.ndarray, " patient"]:
    """Share of the population whose likelihood ratio is no larger than the patient's."""
    p = np.exp(-shadows.shadows.losses)
    a = np.mean(1 - p[shadows.trained_on]) / np.mean(1 - p[~shadows.trained_on])
    outside = np.nanmean(np.where(shadows.trained_on, np.nan, p), axis=0)
    ratio = np.exp(-shadows.target.losses) / ((1 + a) / 2 * outside + (1 - a) / 2)
    return (ratio[:, None] >= ratio[shadows.population]).mean(axis=1)


def halves(patients: int, shadows: int, seed: int) -> Bool[np.ndarray, "shadow patient"]:
    """Who each shadow is trained on: random halves and their complements in turn, so that every patient is outside
    half of the shadows. Raises ValueError for an odd number of shadows or fewer than two patients."""
    if shadows % 2 or patients < 2:
        raise ValueError(f"needs an even number of shadows and two patients, found {shadows} and {patients}")
    random = np.random.default_rng(seed)
    half = np.arange(patients) < patients // 2
    drawn = [random.permutation(half) for _ in range(shadows // 2)]
    return np.array([chosen for one in drawn for chosen in (one, ~one)]).reshape(shadows, patients)


def train_shadows(
    start: Callable[[], Generator],
    slices: Slices,
    trained_on: Bool[np.ndarray, "shadow patient"],
    steps: int,
    seed: int,
    device: torch.device,
    precision: str,
) -> Iterator[Generator]:
    """A generator for each row of `trained_on`: a fresh start trained without privacy on those patients' slices."""
    training = TrainingConfig(
        local_steps=steps,
        optimizer="adam",
        learning_rate=1e-3,
        device=str(device),
        precision=precision,  # type: ignore[arg-type]
    )
    for shadow, chosen in enumerate(trained_on):
        generator = start()
        own = slices.take(np.flatnonzero(chosen[slices.patients]))
        train(generator, own, LocalTask(training=training, plan=NoPrivacy(), round=1, rounds=1, seed=seed, site=shadow))
        yield generator


LIRA = Attack(
    scores=lira_scores,
    needs="shadows",
    access="loss",
    family="shadow",
    paper="Carlini et al. 2022, arXiv:2112.03570",
    meaning="The loss is lower than that of similar generators which never saw the patient.",
)

RMIA = Attack(
    scores=rmia_scores,
    needs="shadows",
    access="loss",
    family="shadow",
    paper="Zarifzadeh et al. 2024, arXiv:2312.03262",
    meaning="The same as a ratio of likelihoods, ranked among known strangers.",
    calibrated=True,
)
