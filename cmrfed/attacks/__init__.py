"""What a trained generator gives away about who was in its training data: attack -> patient scores -> rates.

A new attack is one file with a function of the same signature, and one line in `ATTACKS`.
"""

from cmrfed.attacks.loss_threshold import Losses, PatientSlices, loss_threshold_scores
from cmrfed.attacks.membership import membership_leakage

ATTACKS = {"loss": loss_threshold_scores}
"""Every attack by the name it has in a report; a higher score means "more likely a member"."""

__all__ = ["ATTACKS", "Losses", "PatientSlices", "loss_threshold_scores", "membership_leakage"]
