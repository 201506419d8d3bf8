"""An invitation: all that a hospital needs to join, as one line of text that survives mail and messengers.

    cmrfed-invitation-1.PAYLOAD.CHECKSUM

The payload is JSON in base64url, the checksum the first 64 bits of its SHA-256 in hex. That finds a slip; against
somebody who writes a whole invitation there is the authority's fingerprint, which the coordinator reads out.
"""

import base64
import binascii
import hashlib
import io
import json
import re
from datetime import datetime
from typing import Literal

import segno
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import AwareDatetime, Field

from cmrfed.config import Stage, UserError, read_stage_json_text
from cmrfed.provision.certificates import certificate_fingerprint
from cmrfed.provision.description import SITE_NAME, SiteName
from cmrfed.provision.fingerprint import same_fingerprint

_PREFIX = "cmrfed-invitation-1."
_LINE = re.compile(r"cmrfed-invitation-1\.([\w-]+)\.([0-9a-f]{16})", re.ASCII)
_PIXELS_A_MODULE = 6
_AGAIN = "ask the coordinator to send it again"


class Invitation(Stage):
    """What a coordinator tells one site.

    superlink: host:port of the server.
    authority: the certificate that the server's is signed by, DER in base64; fingerprint: its, as it is read out.
    code: a secret between coordinator and site, which proves that a key is the site's.
    expires: until when the site may join.
    """

    version: Literal[1] = 1
    federation: str = Field(max_length=60, pattern=SITE_NAME)
    site: SiteName
    superlink: str = Field(max_length=300, pattern=r"^(\[[0-9a-f:]+\]|[a-z0-9.-]+):\d{1,5}$")
    authority: str = Field(max_length=4000)
    fingerprint: str = Field(max_length=40)
    code: str = Field(pattern=r"^[0-9a-f]{32}$", repr=False)
    expires: AwareDatetime

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's."""
        return x509.load_der_x509_certificate(base64.b64decode(self.authority, validate=True))

    @property
    def authority_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def text(self) -> str:
        """The one line."""
        values = json.dumps(self.model_dump(mode="json"), separators=(",", ":"))
        payload = base64.urlsafe_b64encode(values.encode()).decode().rstrip("=")
        return f"{_PREFIX}{payload}.{_checksum(payload)}"


def read_invitation(text: str, where: str, now: datetime) -> Invitation:
    """The invitation in a text; what stands around it, and line breaks within it, do not matter.

    Raises UserError, `where` being its origin, where it is none, damaged, expired, or holds another certificate than
    it says.
    """
    match = _LINE.search("".join(text.split()))
    if not match:
        raise UserError(f"{where}: holds no whole invitation of a cmrfed federation; {_AGAIN}")
    if _checksum(match[1]) != match[2]:
        raise UserError(f"{where}: the invitation was changed on its way (its checksum is wrong); {_AGAIN}")
    invitation = read_stage_json_text(Invitation, _decoded(match[1], where), where)
    _refuse_another_certificate(invitation, where)
    if now >= invitation.expires:
        raise UserError(
            f"{where}: the invitation ended on {invitation.expires:%Y-%m-%d}; ask the coordinator for a new one "
            f"(cmrfed provision rotate site={invitation.site!r})"
        )
    return invitation


def qr_code(text: str) -> bytes | None:
    """The text as a QR code (ISO/IEC 18004), a black and white PNG; None where it is too long for any.

    An invitation takes 117 by 117 modules, a long one 149: with the lowest error correction, since what is read wrong
    is found by the invitation's own checksum and scanned again.
    """
    try:
        code = segno.make_qr(text, error="l")
    except segno.DataOverflowError:
        return None
    file = io.BytesIO()
    code.save(file, kind="png", scale=_PIXELS_A_MODULE)
    return file.getvalue()


def _decoded(payload: str, where: str) -> str:
    try:
        return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise UserError(f"{where}: the invitation cannot be read; {_AGAIN}") from None


def _refuse_another_certificate(invitation: Invitation, where: str) -> None:
    try:
        found = certificate_fingerprint(invitation.certificate)
    except ValueError:
        raise UserError(f"{where}: the invitation's certificate cannot be read; {_AGAIN}") from None
    if not same_fingerprint(found, invitation.fingerprint):
        raise UserError(
            f"{where}: the invitation's certificate has fingerprint {found}, and it says {invitation.fingerprint}; "
            f"{_AGAIN}"
        )


def _checksum(payload: str) -> str:
    return hashlib.sha256(payload.encode()).hexdigest()[:16]
