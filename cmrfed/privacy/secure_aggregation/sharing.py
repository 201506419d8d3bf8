"""Shamir's (1979) shares of 32-byte secrets over GF(2^128), and the boxes in which they travel.

A secret is split as two halves of 16 bytes. Fewer than `threshold` shares are independent of it.
"""

import secrets
from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from cmrfed.privacy.secure_aggregation.keys import agreed_key
from cmrfed.privacy.secure_aggregation.messages import EncryptedShare, ProtocolViolation, Share, transcript

_HALF = 16
_NONCE = 12


def split(secret: str, threshold: int, count: int) -> list[str]:
    """`count` shares, numbered from 1, any `threshold` of which give the secret back; all are 64 hex digits."""
    halves = bytes.fromhex(secret[: 2 * _HALF]), bytes.fromhex(secret[2 * _HALF :])
    low, high = (Shamir.split(threshold, count, half, ssss=False) for half in halves)
    return [(one + other).hex() for (_, one), (_, other) in zip(low, high, strict=True)]


def combine(shares: Mapping[int, str]) -> str:
    """The secret, from exactly as many numbered shares as the threshold. What comes of wrong ones is wrong."""
    raw = {number: bytes.fromhex(share) for number, share in shares.items()}
    low = Shamir.combine([(number, share[:_HALF]) for number, share in raw.items()], ssss=False)
    high = Shamir.combine([(number, share[_HALF:]) for number, share in raw.items()], ssss=False)
    return (low + high).hex()


def seal(share: Share, private: str, public: str, sender: str, recipient: str, context: str) -> EncryptedShare:
    """Encrypt a share from the sender's private to the recipient's public share key, for this roster alone."""
    # A random nonce, as a site that crashed before it saved its state deals other shares under the same key.
    nonce = secrets.token_bytes(_NONCE)
    plain = bytes.fromhex(share.mask_key + share.seed)
    box = nonce + _cipher(private, public, sender, recipient, context).encrypt(
        nonce, plain, transcript("share", context, sender, recipient)
    )
    return EncryptedShare(sender=sender, recipient=recipient, box=box.hex())


def unseal(sealed: EncryptedShare, private: str, public: str, context: str) -> Share:
    """Decrypt with the recipient's private and the sender's public share key.

    Raises ProtocolViolation when it was altered, or made for another recipient, session or roster.
    """
    box, sender, recipient = bytes.fromhex(sealed.box), sealed.sender, sealed.recipient
    try:
        plain = (
            _cipher(private, public, sender, recipient, context)
            .decrypt(box[:_NONCE], box[_NONCE:], transcript("share", context, sender, recipient))
            .hex()
        )
    except InvalidTag:
        raise ProtocolViolation(
            f"mask: the share from {sender} to {recipient} was altered, or made for another session or roster; "
            f"start a new session"
        ) from None
    return Share(mask_key=plain[:64], seed=plain[64:])


def _cipher(private: str, public: str, sender: str, recipient: str, context: str) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(agreed_key(private, public, "share key", context, sender, recipient))
