"""What synthetic images are worth to someone who trains a segmenter on them, measured on held-out real patients."""

from cmrfed.utility.arms import TrainingSlices, compare_training_sets
from cmrfed.utility.scores import METRICS, PatientScores, TestStacks, patient_scores, summarise
from cmrfed.utility.segmenter import RECIPE, predict, train_segmenter

__all__ = [
    "METRICS",
    "RECIPE",
    "PatientScores",
    "TestStacks",
    "TrainingSlices",
    "compare_training_sets",
    "patient_scores",
    "predict",
    "summarise",
    "train_segmenter",
]
