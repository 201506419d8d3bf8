"""Patient-level differential privacy: the mechanism as data, patients' gradients, accounting and the site's ledger."""

from cmrfed.privacy.accounting import GaussianEvent, calibrate_noise, epsilon
from cmrfed.privacy.gradients import clipped_gradient_sum, patient_gradient
from cmrfed.privacy.ledger import BudgetExceeded, Entry, Ledger
from cmrfed.privacy.plan import PrivacyPlan
from cmrfed.privacy.randomness import Random, SecureRandom, SeededRandom

__all__ = [
    "BudgetExceeded",
    "Entry",
    "GaussianEvent",
    "Ledger",
    "PrivacyPlan",
    "Random",
    "SecureRandom",
    "SeededRandom",
    "calibrate_noise",
    "clipped_gradient_sum",
    "epsilon",
    "patient_gradient",
]
