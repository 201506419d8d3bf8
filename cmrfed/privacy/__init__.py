"""Patient-level differential privacy: the mechanism as data, patients' gradients, accounting and the site's ledger."""

from cmrfed.privacy.accounting import (
    Bound,
    CannotBound,
    Comparison,
    GaussianEvent,
    Noise,
    attacker_true_positive_rate,
    calibrate_noise,
    compare,
    epsilon,
    strongest_attack,
)
from cmrfed.privacy.canaries import CanaryBound, audit_canaries, epsilon_lower_bound, guess
from cmrfed.privacy.chain import LedgerRow
from cmrfed.privacy.clipping import Clipping
from cmrfed.privacy.cohort import Cohort, individuals, twins
from cmrfed.privacy.filter import renyi_order
from cmrfed.privacy.gradients import clipped_gradient_sum, looped_gradients, places_are_alike, vmapped_gradients
from cmrfed.privacy.ledger import Book, BudgetExceeded, Ledger, Limits
from cmrfed.privacy.plan import DistributedNoise, LocalNoise, NoPrivacy, Plan, PrivacyPlan
from cmrfed.privacy.randomness import Random, SecureRandom, SeededRandom, fresh_key
from cmrfed.privacy.states import Clipped, Noised, Paid

__all__ = [
    "Book",
    "Bound",
    "BudgetExceeded",
    "CanaryBound",
    "CannotBound",
    "Clipped",
    "Clipping",
    "Cohort",
    "Comparison",
    "DistributedNoise",
    "GaussianEvent",
    "Ledger",
    "LedgerRow",
    "Limits",
    "LocalNoise",
    "NoPrivacy",
    "Noise",
    "Noised",
    "Paid",
    "Plan",
    "PrivacyPlan",
    "Random",
    "SecureRandom",
    "SeededRandom",
    "attacker_true_positive_rate",
    "audit_canaries",
    "calibrate_noise",
    "clipped_gradient_sum",
    "compare",
    "epsilon",
    "epsilon_lower_bound",
    "fresh_key",
    "guess",
    "individuals",
    "looped_gradients",
    "places_are_alike",
    "renyi_order",
    "strongest_attack",
    "twins",
    "vmapped_gradients",
]
