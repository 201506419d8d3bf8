"""A hospital's long-term Ed25519 key (RFC 8032): what its peers register, out of band, to know it by."""

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cmrfed.config import UserError
from cmrfed.core import atomic


class Identity:
    """Signs in a site's name. The private key stays in its file, readable by its owner alone."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def create(cls, path: Path) -> "Identity":
        """A new key in a new file of mode 0600. Raises UserError where there is a file already: no key is replaced."""
        private_key = Ed25519PrivateKey.generate()
        pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.create(path, pem)
        except OSError as error:
            if path.exists():
                taken = f"{path}: holds a key already; load it, or move it away to become another site"
                raise UserError(taken) from None
            raise UserError(f"{path}: the identity key cannot be written ({error.strerror})") from None
        return cls(private_key)

    @classmethod
    def load(cls, path: Path) -> "Identity":
        """The key in a file that `create` wrote. Raises UserError when there is none."""
        try:
            private_key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise UserError(f"{path}: the identity key cannot be read ({error.strerror}); was it created?") from None
        except (ValueError, TypeError):
            raise UserError(f"{path}: is not an unencrypted PEM private key; restore it from its backup") from None
        if not isinstance(private_key, Ed25519PrivateKey):
            raise UserError(f"{path}: is not an Ed25519 key; restore it from its backup")
        return cls(private_key)

    @property
    def public(self) -> str:
        """The public key, 64 hex digits: what the peers register."""
        return self._private_key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """The signature, 128 hex digits."""
        return self._private_key.sign(message).hex()


def verify(public: str, message: bytes, signature: str) -> bool:
    """Whether the holder of `public` (hex) signed the message; a malformed key or signature is no signature."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (ValueError, InvalidSignature):
        return False
    return True
