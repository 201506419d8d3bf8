"""What travels between the sites, all of it through the server: frozen, JSON-able, bytes as lower-case hex.

None of it is trusted when it arrives. A field's pattern only makes sure that it can be decoded and shown in one line.
"""

import hashlib
import json
import secrets
from typing import Annotated

from pydantic import ConfigDict, Field

from cmrfed.config import Stage, UserError

_PROTOCOL = "cmrfed secure aggregation 1"

SiteName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w .-]+$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
Secret32 = Annotated[Hex32, Field(repr=False)]


class ProtocolViolation(UserError):
    """A phase was refused: one line that says which, what was found and who is to look at it."""


class SecretStage(Stage):
    """A stage with secrets in it, which neither its repr nor an error about it shows."""

    model_config = ConfigDict(hide_input_in_errors=True)


def transcript(purpose: str, *fields: str | int | list[str]) -> bytes:
    """An unambiguous encoding for signatures and key derivation; no two purposes or field lists share one."""
    return json.dumps([_PROTOCOL, purpose, *fields], separators=(",", ":")).encode()


class Session(Stage):
    """What every site and the server must hold in common; its digest is in every signature and every key.

    `request` is the SHA-256 of all that the sites agreed to do, `nonce` is fresh for each attempt, and `threshold` is
    how many sites must take part in each phase (see `check_threshold`).
    """

    request: Hex32
    nonce: Hex32
    threshold: int = Field(ge=2)

    @classmethod
    def fresh(cls, request: str, threshold: int) -> "Session":
        """A new attempt at the same request."""
        return cls(request=request, nonce=secrets.token_hex(32), threshold=threshold)

    @property
    def digest(self) -> str:
        """SHA-256 of all fields, hex."""
        return hashlib.sha256(transcript("session", self.request, self.nonce, self.threshold)).hexdigest()


class Offer(Stage):
    """Phase 1: a site's fresh X25519 keys and the commitment to its self-mask seed, signed with its identity key."""

    name: SiteName
    share_key: Hex32
    mask_key: Hex32
    seed_commitment: Hex32
    signature: Hex64

    def statement(self, session: Session) -> bytes:
        """What the signature is of."""
        return offer_statement(session, self.name, self.share_key, self.mask_key, self.seed_commitment)


def offer_statement(session: Session, name: str, share_key: str, mask_key: str, seed_commitment: str) -> bytes:
    """What a site signs in phase 1: its keys, and that they are for this session alone."""
    return transcript("offer", session.digest, name, share_key, mask_key, seed_commitment)


class Share(SecretStage):
    """One site's share of another's two secrets; which share it is follows from the place in the roster."""

    mask_key: Secret32
    seed: Secret32


class EncryptedShare(Stage):
    """Phase 2: a `Share` that only `recipient` can read; `box` is nonce, ciphertext and tag."""

    sender: SiteName
    recipient: SiteName
    box: Annotated[str, Field(pattern=r"^[0-9a-f]{184}$", repr=False)]


class Confirmation(Stage):
    """Phase 4: a site's signature on the one survivor set it will reveal shares for."""

    name: SiteName
    signature: Hex64


class Revealed(SecretStage):
    """Phase 5: a site's shares of the survivors' self-mask seeds, and of the dropped sites' mask keys."""

    name: SiteName
    seeds: dict[SiteName, Hex32] = Field(repr=False)
    mask_keys: dict[SiteName, Hex32] = Field(repr=False)
