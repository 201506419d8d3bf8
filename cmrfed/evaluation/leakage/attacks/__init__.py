"""What a trained generator gives away about who was in its training data: attack -> patient scores -> rates.

`catalogue` lists the attacks, one file each; `battery` makes and judges them; the rest are checks that score images or
the generator as a whole. A new attack is one file with a function from evidence to patients' scores, and one entry in
`ATTACKS`.
"""

from cmrfed.evaluation.leakage.attacks.attack import Attack, Evidence
from cmrfed.evaluation.leakage.attacks.battery import (
    Candidates,
    Claim,
    exposure,
    judge,
    judge_blind,
    left_out,
    score_patients,
    strongest,
)
from cmrfed.evaluation.leakage.attacks.blind import blind_statistics, style_statistics
from cmrfed.evaluation.leakage.attacks.calibration import fitted_scores
from cmrfed.evaluation.leakage.attacks.catalogue import ATTACKS
from cmrfed.evaluation.leakage.attacks.copies import CopyTest, copying
from cmrfed.evaluation.leakage.attacks.membership import membership_leakage
from cmrfed.evaluation.leakage.attacks.names import hashed_names, name_key
from cmrfed.evaluation.leakage.attacks.neighbours import NOBODY, Points, Samples
from cmrfed.evaluation.leakage.attacks.overfitting import overfitting_gap
from cmrfed.evaluation.leakage.attacks.probe import PatientSlices, Probe
from cmrfed.evaluation.leakage.attacks.shadow import Answers, Shadows, halves, train_shadows
from cmrfed.evaluation.leakage.attacks.style import style_recovery

__all__ = [
    "ATTACKS",
    "NOBODY",
    "Answers",
    "Attack",
    "Candidates",
    "Claim",
    "CopyTest",
    "Evidence",
    "PatientSlices",
    "Points",
    "Probe",
    "Samples",
    "Shadows",
    "blind_statistics",
    "copying",
    "exposure",
    "fitted_scores",
    "halves",
    "hashed_names",
    "judge",
    "judge_blind",
    "left_out",
    "membership_leakage",
    "name_key",
    "overfitting_gap",
    "score_patients",
    "strongest",
    "style_recovery",
    "style_statistics",
    "train_shadows",
]
