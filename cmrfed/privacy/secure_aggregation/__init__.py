"""Secure aggregation: the server learns the sum of the surviving sites' integer vectors, and nothing else of them.

`protocol` has both halves and the threat model; `roster` says who takes part and how many must; `identity` is a
hospital's long-term key; `messages` is what travels; `keys`, `masks` and `sharing` are the cryptography below.
"""

from cmrfed.privacy.secure_aggregation.identity import Identity, verify
from cmrfed.privacy.secure_aggregation.keys import require_usable
from cmrfed.privacy.secure_aggregation.messages import (
    Confirmation,
    EncryptedShare,
    Offer,
    ProtocolViolation,
    Revealed,
    Session,
)
from cmrfed.privacy.secure_aggregation.protocol import Participant, require_dealt, require_revealed, route, unmask
from cmrfed.privacy.secure_aggregation.roster import Roster, check_threshold

__all__ = [
    "Confirmation",
    "EncryptedShare",
    "Identity",
    "Offer",
    "Participant",
    "ProtocolViolation",
    "Revealed",
    "Roster",
    "Session",
    "check_threshold",
    "require_dealt",
    "require_revealed",
    "require_usable",
    "route",
    "unmask",
    "verify",
]
