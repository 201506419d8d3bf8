"""X25519 key agreement (RFC 7748) and HKDF-SHA256 (RFC 5869), with purpose and context in every derived key."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cmrfed.privacy.secure_aggregation.messages import ProtocolViolation, transcript


def generate_private_key() -> str:
    """A fresh X25519 private key, hex."""
    return X25519PrivateKey.generate().private_bytes_raw().hex()


def public_key(private: str) -> str:
    """The X25519 public key of a private one, both hex."""
    return _private_key(private).public_key().public_bytes_raw().hex()


def derive_key(secret: bytes, purpose: str, *context: str) -> bytes:
    """32 bytes that whoever lacks the secret cannot tell from random, nor relate to those of another context."""
    return HKDF(SHA256(), length=32, salt=None, info=transcript(purpose, *context)).derive(secret)


def agreed_key(private: str, public: str, purpose: str, *context: str) -> bytes:
    """32 bytes that the holders of the two private keys share. Raises ProtocolViolation when `public` is degenerate."""
    try:
        secret = _private_key(private).exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    except ValueError:
        raise ProtocolViolation(
            f"public key {public} is a point of small order, with which every key is known; "
            f"have the site that offered it looked at"
        ) from None
    return derive_key(secret, purpose, *context)


def require_usable(public: str) -> None:
    """Raise ProtocolViolation when no key can be agreed upon with a public key, whoever tries."""
    agreed_key(generate_private_key(), public, "trial")


def commit(seed: str, session: str, name: str) -> str:
    """A commitment to a random 32-byte seed, hex: it binds, and is independent of the mask from the same seed."""
    return derive_key(bytes.fromhex(seed), "seed commitment", session, name).hex()


def _private_key(private: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(private))
