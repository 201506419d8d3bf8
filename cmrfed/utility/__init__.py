"""What synthetic images are worth to someone who trains a segmenter on them, measured on held-out real patients."""

from cmrfed.utility.arms import ARMS, TrainingSlices, compare_arms
from cmrfed.utility.scores import METRICS, PatientScores, TestStacks, patient_scores, summarise
from cmrfed.utility.segmenter import RECIPE, predict, train_segmenter

__all__ = [
    "ARMS",
    "METRICS",
    "RECIPE",
    "PatientScores",
    "TestStacks",
    "TrainingSlices",
    "compare_arms",
    "patient_scores",
    "predict",
    "summarise",
    "train_segmenter",
]
