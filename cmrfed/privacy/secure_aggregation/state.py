"""What a site remembers of a session between phases: grown by one part a phase, and robbed of each secret once used."""

from typing import TypeVar

from cmrfed.privacy.secure_aggregation.messages import (
    Confirmation,
    EncryptedShare,
    Offer,
    ProtocolViolation,
    Revealed,
    Secret32,
    SecretStage,
    Session,
    Share,
    SiteName,
)
from cmrfed.privacy.secure_aggregation.roster import Roster

Part = TypeVar("Part", bound=SecretStage)


class Secrets(SecretStage):
    """What a site must keep to itself until it has masked, and must forget then: private keys and seed, hex."""

    share_key: Secret32
    mask_key: Secret32
    seed: Secret32


class Shared(SecretStage):
    """After phase 2: the one roster this site accepts, its members' identity keys, and the shares it dealt."""

    roster: Roster
    identities: dict[SiteName, str]
    kept: Share
    sent: tuple[EncryptedShare, ...]


class Masked(SecretStage):
    """After phase 3: who sent shares (U2), and this site's share of each one's secrets until the reveal."""

    senders: tuple[SiteName, ...]
    held: dict[SiteName, Share]


class Confirmed(SecretStage):
    """After phase 4: the one survivor set (U3) this site signs, ever."""

    survivors: tuple[SiteName, ...]
    confirmation: Confirmation


class State(SecretStage):
    """All of it; a part is None until its phase is done, and the secrets are None after phase 3."""

    session: Session
    offer: Offer
    secrets: Secrets | None
    shared: Shared | None = None
    masked: Masked | None = None
    confirmed: Confirmed | None = None
    revealed: Revealed | None = None

    @property
    def name(self) -> str:
        """The site's own."""
        return self.offer.name

    def violation(self, phase: str, found: str) -> ProtocolViolation:
        """The error of this site in a phase."""
        return ProtocolViolation(f"{phase}: {self.name}: {found}")

    def require(self, part: Part | None, phase: str, otherwise: str) -> Part:
        """A part that the phase builds on. Raises ProtocolViolation when it is not there yet, or no longer."""
        if part is None:
            raise self.violation(phase, otherwise)
        return part
