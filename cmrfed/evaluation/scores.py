"""Everything that is configured, measured on every arm of a subject."""

from collections.abc import Mapping

from cmrfed.config import EvaluationConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.composite import composite
from cmrfed.evaluation.fidelity import measure_fidelity
from cmrfed.evaluation.leakage import measure_leakage
from cmrfed.evaluation.schema import ArmScores
from cmrfed.evaluation.subject import Subject
from cmrfed.evaluation.utility import measure_utility


def scores_by_arm(subject: Subject, config: EvaluationConfig, bar: ProgressBar) -> dict[str, ArmScores]:
    """What is configured, by arm."""
    found: dict[str, Mapping[str, object]] = {}
    if config.leakage:
        found["leakage"], found["audits"] = measure_leakage(subject, config.leakage, bar)
    if config.fidelity:
        found["fidelity"] = measure_fidelity(subject, config.fidelity, bar)
    if config.utility:
        found["utility"] = measure_utility(subject, config.utility, bar)
    arms = {
        arm: ArmScores.model_validate({kind: of[arm] for kind, of in found.items() if arm in of})
        for arm in subject.synthetic
    }
    return {
        arm: scores.model_copy(update={"composite": composite(scores, config.composite)})
        for arm, scores in arms.items()
    }
