"""Leakage of every arm: whether its training patients can be told from held-out ones, and whether images are copies."""

from typing import Any

import numpy as np

from cmrfed.config import LeakageConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.leakage.attacks import (
    ATTACKS,
    Claim,
    Evidence,
    Points,
    Probe,
    Samples,
    Shadows,
    judge,
    judge_blind,
    left_out,
    overfitting_gap,
    score_patients,
    strongest,
)
from cmrfed.evaluation.leakage.attacks.loss_threshold import loss_scores
from cmrfed.evaluation.leakage.checks import copies, styles, worst_patients
from cmrfed.evaluation.leakage.scene import Scene
from cmrfed.evaluation.schema import AttackRates, LeakageChecks
from cmrfed.evaluation.subject import Subject, Synthetic
from cmrfed.privacy import NoPrivacy

__all__ = ["Scene", "measure_leakage"]

Attacks = dict[str, AttackRates]
"""By the attack's name."""

NO_NOISE_VIEW = "not applicable: the generator draws in one go, and cannot be asked at a noise of one's choice"
MEMBERS_UNKNOWN = "it is not known on whom the generator was trained"


def measure_leakage(
    subject: Subject, config: LeakageConfig, bar: ProgressBar
) -> tuple[dict[str, Attacks], dict[str, LeakageChecks]]:
    """(Attacks, checks), each by arm. Where the generator is not at hand only its samples are attacked; where it is not
    known who it was trained on nobody is, for a membership that was drawn by lot cannot be found.

    Raises UserError for an attack that does not exist.
    """
    scene = Scene(subject, config)
    attacks, checks = {}, {}
    for arm, made in subject.synthetic.items():
        attacks[arm], checks[arm] = _leakage(scene, made, arm, bar)
    return attacks, checks


def _leakage(scene: Scene, made: Synthetic, arm: str, bar: ProgressBar) -> tuple[Attacks, LeakageChecks]:
    """One arm's attacks and checks."""
    copied = {str(space): copies(scene, made, space) for space in _spaces(scene) if len(made.shown)}
    if not scene.subject.members_known:
        return {}, LeakageChecks(left_out=dict.fromkeys(scene.names, MEMBERS_UNKNOWN), copies=copied)
    subject, candidates = scene.subject, scene.candidates
    evidence: dict[Evidence, Any] = {}
    probe = scene.probe(made.load()) if made.generator else None
    if probe:
        evidence |= {"probe": probe, **_shadows(scene, made, probe, bar)}
    evidence |= {space: _samples(scene, made, space) for space in _spaces(scene) if len(made.shown)}
    with bar(f"membership inference, {arm}") as progress:
        scores = score_patients(evidence, candidates, scene.names, progress)
    judged = judge(scores, scene.blind, candidates, _claim(made), subject.bootstrap, subject.seed)
    checks: dict[str, object] = {
        "left_out": left_out(evidence, candidates, scene.names) | _without_noise_view(scene, made, probe),
        "calibration_patients": int(candidates.calibration.sum()),
        "strongest": strongest(scores, candidates, subject.bootstrap, subject.seed),
        "worst_patients": worst_patients(scene, scores) if scores else [],
        "copies": copied,
        "vendor_style": styles(scene, made),
    }
    if scene.blind is not None:
        checks["blind"] = judge_blind(scene.blind, candidates, subject.bootstrap, subject.seed)
    if "probe" in evidence:
        losses = -loss_scores(evidence["probe"])
        sides = candidates.sides(losses, np.ones_like(candidates.member))
        checks["overfitting"] = overfitting_gap(*sides, subject.bootstrap, subject.seed)
    attacks = {name: AttackRates.model_validate(rates) for name, rates in judged.items()}
    return attacks, LeakageChecks.model_validate(checks)


def _without_noise_view(scene: Scene, made: Synthetic, probe: Probe | None) -> dict[str, str]:
    """Attacks that do not apply to a generator whose weights are at hand: they look at it through noise."""
    names = scene.names if made.generator and not probe else ()
    return dict.fromkeys((name for name in names if ATTACKS[name].needs in ("probe", "shadows")), NO_NOISE_VIEW)


def _claim(made: Synthetic) -> Claim:
    """What the arm's plan promises; nothing where it has none."""
    return Claim() if isinstance(made.plan, NoPrivacy) else Claim(made.plan.target_epsilon, made.plan.delta)


def _shadows(scene: Scene, made: Synthetic, probe: Probe, bar: ProgressBar) -> dict[Evidence, Any]:
    """What shadow models answer, where an attack needs them and the arm's start is at hand."""
    candidates = scene.candidates
    wanted = any(ATTACKS[name].needs == "shadows" for name in scene.names)
    if not (scene.config.shadow_models and made.start and wanted and candidates.calibrates):
        return {}
    trained_on, answers = scene.shadows(made, made.start, bar)
    return {"shadows": Shadows(scene.answers(probe), answers, trained_on, candidates.calibration & ~candidates.member)}


def _spaces(scene: Scene) -> tuple[Evidence, ...]:
    return ("pixels", "features") if scene.config.feature_space else ("pixels",)


def _samples(scene: Scene, made: Synthetic, space: Evidence) -> Samples:
    """All synthetic images against all real ones; by features, which cost a network's pass each, some of both."""
    scored = scene.points(scene.few, space)
    if space == "features":
        return Samples(scored, scene.points(scene.shown(made.shown, space), space), scored)
    synthetic = [scene.points(part, space) for part in (made.shown, made.learnt) if len(part)]
    return Samples(scored, Points.joined(synthetic), scene.archive)
