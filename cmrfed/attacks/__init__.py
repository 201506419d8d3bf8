"""What a trained generator gives away about who was in its training data: attack -> patient scores -> rates.

`catalogue` lists the attacks, one file each; `battery` makes and judges them; the rest are audits that score images or
the generator as a whole. A new attack is one file with a function from evidence to patients' scores, and one entry in
`ATTACKS`.
"""

from cmrfed.attacks.battery import (
    Claim,
    Cohort,
    blind_does_as_well,
    exposure,
    judge,
    judge_blind,
    left_out,
    score_patients,
    strongest,
)
from cmrfed.attacks.blind import blind_statistics, style_statistics
from cmrfed.attacks.calibration import fitted_scores
from cmrfed.attacks.catalogue import ATTACKS, Attack, Evidence
from cmrfed.attacks.copies import CopyTest, copying
from cmrfed.attacks.membership import membership_leakage
from cmrfed.attacks.names import hashed_names, name_key
from cmrfed.attacks.neighbours import NOBODY, Points, Samples
from cmrfed.attacks.overfitting import overfitting_gap
from cmrfed.attacks.probe import PatientSlices, Probe
from cmrfed.attacks.shadow import Answers, Shadows, halves, train_shadows
from cmrfed.attacks.style import style_recovery

__all__ = [
    "ATTACKS",
    "NOBODY",
    "Answers",
    "Attack",
    "Claim",
    "Cohort",
    "CopyTest",
    "Evidence",
    "PatientSlices",
    "Points",
    "Probe",
    "Samples",
    "Shadows",
    "blind_does_as_well",
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
