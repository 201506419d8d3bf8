"""What synthetic images are worth to someone who trains on them, measured on held-out real patients.

A segmenter (`backbones`, `segmenter`) learns from different sets (`training_set`, `arms`) under equal budgets; its
masks are scored by structure (`regions`, `scores`, `strata`), by the heart's function that they give
(`function`, `agreement`), and by the diseases that are told from it (`disease`). `paired` tests differences,
`blind` is what a network must beat that looks at images, `group_drop` says what an unseen vendor costs.
"""

from cmrfed.evaluation.utility.metrics.agreement import bland_altman
from cmrfed.evaluation.utility.metrics.arms import Budget, Outcome, compare_training_sets, mean_function
from cmrfed.evaluation.utility.metrics.backbones import BACKBONES
from cmrfed.evaluation.utility.metrics.blind import blind_masks, over_blind
from cmrfed.evaluation.utility.metrics.disease import (
    disease_forest,
    disease_probabilities,
    disease_scores,
    diseases_to_learn,
    diseases_to_tell,
)
from cmrfed.evaluation.utility.metrics.disease_features import DiseaseFeatures, disease_features
from cmrfed.evaluation.utility.metrics.function import (
    MEASURES,
    CardiacFunction,
    cardiac_function,
    patients_with_both_phases,
)
from cmrfed.evaluation.utility.metrics.group_drop import GroupScores, group_drops
from cmrfed.evaluation.utility.metrics.paired import holm, paired_tests, signed_rank_p
from cmrfed.evaluation.utility.metrics.regions import RegionPair
from cmrfed.evaluation.utility.metrics.scores import COLUMNS, METRICS, StackScores, stack_scores
from cmrfed.evaluation.utility.metrics.segmenter import AUGMENTATIONS, predict, train_segmenter
from cmrfed.evaluation.utility.metrics.strata import means, summarise, values_of
from cmrfed.evaluation.utility.metrics.training_set import Masks, TrainingSet

__all__ = [
    "AUGMENTATIONS",
    "BACKBONES",
    "COLUMNS",
    "MEASURES",
    "METRICS",
    "Budget",
    "CardiacFunction",
    "DiseaseFeatures",
    "GroupScores",
    "Masks",
    "Outcome",
    "RegionPair",
    "StackScores",
    "TrainingSet",
    "bland_altman",
    "blind_masks",
    "cardiac_function",
    "compare_training_sets",
    "disease_features",
    "disease_forest",
    "disease_probabilities",
    "disease_scores",
    "diseases_to_learn",
    "diseases_to_tell",
    "group_drops",
    "holm",
    "mean_function",
    "means",
    "over_blind",
    "paired_tests",
    "patients_with_both_phases",
    "predict",
    "signed_rank_p",
    "stack_scores",
    "summarise",
    "train_segmenter",
    "values_of",
]
