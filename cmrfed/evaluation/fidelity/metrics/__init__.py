"""How close synthetic images are to real ones: features -> distance -> a number, its interval and a real-real floor.

A new distance is one file with a function of two feature sets, a line in `set_distances`, and a line in `catalogue`,
from which the report prints it; a new feature space is a module, an `Extractor` and a line in `FEATURE_SPACES`.
"""

from cmrfed.evaluation.fidelity.metrics.catalogue import SCORES, SPACES, Meaning
from cmrfed.evaluation.fidelity.metrics.density_coverage import density_coverage
from cmrfed.evaluation.fidelity.metrics.faithfulness import FAITHFULNESS, faithfulness
from cmrfed.evaluation.fidelity.metrics.features import EXTRACTORS, extract_features, logits_of, refuse_unusable_spaces
from cmrfed.evaluation.fidelity.metrics.frechet import frechet_distance
from cmrfed.evaluation.fidelity.metrics.inception_score import inception_score
from cmrfed.evaluation.fidelity.metrics.kernel import kernel_distance
from cmrfed.evaluation.fidelity.metrics.likelihood import feature_likelihood
from cmrfed.evaluation.fidelity.metrics.means import SliceScores, mean_scores
from cmrfed.evaluation.fidelity.metrics.precision_recall import precision_recall
from cmrfed.evaluation.fidelity.metrics.scores import (
    ByArm,
    PatientFeatures,
    Score,
    estimates,
    fidelity_scores,
    headline,
    in_units_of,
    scores_beside_floor,
    set_distances,
)

__all__ = [
    "EXTRACTORS",
    "FAITHFULNESS",
    "SCORES",
    "SPACES",
    "ByArm",
    "Meaning",
    "PatientFeatures",
    "Score",
    "SliceScores",
    "density_coverage",
    "estimates",
    "extract_features",
    "faithfulness",
    "feature_likelihood",
    "fidelity_scores",
    "frechet_distance",
    "headline",
    "in_units_of",
    "inception_score",
    "kernel_distance",
    "logits_of",
    "mean_scores",
    "precision_recall",
    "refuse_unusable_spaces",
    "scores_beside_floor",
    "set_distances",
]
