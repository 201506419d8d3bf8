"""How close synthetic images are to real ones: features -> distance -> number with an interval and a real-real floor.

A new distance is one file with a function of two feature sets, and one line in `METRICS`.
"""

from cmrfed.fidelity.features import EXTRACTORS, extract_features
from cmrfed.fidelity.frechet import frechet_distance
from cmrfed.fidelity.kernel import kernel_distance
from cmrfed.fidelity.scores import METRICS, PatientFeatures, fidelity_scores

__all__ = [
    "EXTRACTORS",
    "METRICS",
    "PatientFeatures",
    "extract_features",
    "fidelity_scores",
    "frechet_distance",
    "kernel_distance",
]
