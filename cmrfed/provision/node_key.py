"""A node's key, which Flower knows a site by: made at the hospital, in the form that `flower-supernode` reads.

The public half is one line of text, as OpenSSH has it. Its last word proves that whoever made the key had the site's
invitation: it is a code keyed by the invitation's secret (HMAC, RFC 2104) over the site's name and the key.
"""

import base64
import hmac
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from cmrfed.config import UserError, not_readable
from cmrfed.core import atomic
from cmrfed.provision.fingerprint import fingerprint

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""Those that Flower takes."""
_PROOF = "cmrfed:"


@dataclass(frozen=True)
class NodeKey:
    """The public half of a node's key, and the proof that came with it."""

    public: ec.EllipticCurvePublicKey
    proof: str = ""

    @property
    def bare(self) -> str:
        """Kind and key, without the proof."""
        return self.public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    @property
    def pem(self) -> bytes:
        """As Flower keeps it."""
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """Of what `cut -d' ' -f2 node.pub | base64 -d` prints."""
        return fingerprint(base64.b64decode(self.bare.split()[1]))

    def line(self, site: str, code: str) -> str:
        """The line to send, with the proof that the sender holds the site's invitation."""
        return f"{self.bare} {_PROOF}{_prove(self.bare, site, code)}\n"

    def proves(self, site: str, code: str) -> bool:
        """Whether whoever made the line held the site's invitation with this code."""
        return hmac.compare_digest(self.proof.encode(), _prove(self.bare, site, code).encode())


def read_node_key(text: str, where: str) -> NodeKey:
    """The public half from its line of text. Raises UserError, `where` being its origin."""
    words = text.split()
    try:
        key = load_ssh_public_key(" ".join(words[:2]).encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise UserError(f"{where}: is no public key of a node; give the file node.pub that `cmrfed site join` wrote")
    return NodeKey(key, next((word.removeprefix(_PROOF) for word in words[2:] if word.startswith(_PROOF)), ""))


def create_private_key(path: Path) -> NodeKey:
    """A new key (P-384) in a file of mode 0600, which replaces the one there; returns its public half."""
    key = ec.generate_private_key(ec.SECP384R1())
    content = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    atomic.write_bytes(path, content, mode=atomic.PRIVATE)
    return NodeKey(key.public_key())


def public_half(path: Path) -> NodeKey:
    """Of a private key in its file. Raises UserError where there is none."""
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        otherwise = f"{path}: is not a node's private key; have the coordinator invite this site again (rotate)"
        raise not_readable(path, error, otherwise) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{path}: is not a key of a NIST curve, as Flower needs; have the site invited again (rotate)")
    return NodeKey(key.public_key())


def _prove(bare: str, site: str, code: str) -> str:
    return hmac.new(code.encode(), f"{site}\0{bare}".encode(), "sha256").hexdigest()[:32]
