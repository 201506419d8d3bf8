"""Whether a site's node can reach its server, and if not, why: without Flower and without torch.

For the hospital's own eyes: what is found here is told to nobody else.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509

from cmrfed.config import UserError
from cmrfed.core.check import Check
from cmrfed.provision.certificates import certificate_fingerprint, read_certificate
from cmrfed.provision.connection import Connection

_SOON = timedelta(days=30)
_CLOCK_TOLERANCE_S = 4.0
"""Flower takes no request of a node whose clock is more than five seconds ahead; a second is the header's own."""
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """What the server showed: its certificate, and its clock beside this machine's; or why it could not be reached."""

    certificate: x509.Certificate | None = None
    theirs: datetime | None = None
    ours: datetime = field(default_factory=lambda: datetime.now(UTC))
    failed: Check | None = None


def check_connection(connection: Connection, now: datetime) -> list[Check]:
    """All of these: the authority's certificate first, as without it nothing can be said of the server."""
    authority = check_authority(connection, now)
    return [authority, *(check_server(connection, now) if authority.verdict != "mend" else ())]


def check_authority(connection: Connection, now: datetime) -> Check:
    """That the certificate by which the server is known is here and valid."""
    path = Path(connection.root_certificates)
    try:
        certificate = read_certificate(path.read_bytes(), str(path))
    except (OSError, UserError) as error:
        return Check("authority", "mend", str(error), "join again with the invitation")
    renew = "ask the coordinator: the federation must be provisioned anew"
    return _dates("authority", certificate, now, renew, certificate_fingerprint(certificate))


def check_server(connection: Connection, now: datetime) -> Iterator[Check]:
    """That the server answers, is who it says, and that both clocks agree."""
    answer = ask(connection)
    if answer.failed:
        yield answer.failed
        return
    yield Check("server", "good", f"{connection.superlink} answers, with a certificate of our authority")
    if answer.certificate:
        yield _dates("server certificate", answer.certificate, now, "the coordinator runs: cmrfed provision rotate")
    yield check_clock(answer)


def check_clock(answer: Answer) -> Check:
    """Whether this machine's clock is near enough the server's for the node's signed requests."""
    if answer.theirs is None:
        return Check("clock", "look", "the server did not say its time", "see that this machine's is right (NTP)")
    ahead = (answer.ours - answer.theirs).total_seconds()
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    if abs(ahead) > _CLOCK_TOLERANCE_S:
        return Check("clock", "mend", found, "set this machine's clock, by NTP (timedatectl set-ntp true)")
    return Check("clock", "good", found)


def ask(connection: Connection) -> Answer:
    """Connect, compare certificate and name, and ask for anything at all: every answer has a date."""
    context = ssl.create_default_context(cafile=connection.root_certificates)
    client = http.client.HTTPSConnection(connection.host, connection.port, timeout=_TIMEOUT_S, context=context)
    try:
        client.request("HEAD", "/")
        shown = client.sock.getpeercert(binary_form=True) or b""
        date = client.getresponse().getheader("Date")
        theirs = parsedate_to_datetime(date) if date else None
        return Answer(read_certificate(ssl.DER_cert_to_PEM_cert(shown).encode(), connection.superlink), theirs)
    except (OSError, http.client.HTTPException) as error:
        return Answer(failed=_not_reached(connection, error))
    finally:
        client.close()


def _not_reached(connection: Connection, error: Exception) -> Check:
    where = connection.superlink
    match error:
        case ssl.SSLCertVerificationError():
            found = f"{where}: its certificate is not accepted ({error.verify_message})"
            to_do = "another server, a proxy between, or a certificate that ended: call the coordinator"
        case ssl.SSLError():
            found, to_do = f"{where}: no TLS ({error.reason or error})", "see that its port is right"
        case socket.gaierror():
            found, to_do = f"{connection.host}: no such name", "see this machine's DNS, or ask the coordinator"
        case _:
            found = f"{where}: cannot be reached ({error or type(error).__name__})"
            to_do = "have the firewall let this machine connect out to it"
    return Check("server", "mend", found, to_do)


def _dates(what: str, certificate: x509.Certificate, now: datetime, renew: str, shown: str = "") -> Check:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    found = ", ".join(filter(None, [shown, f"until {ends:%Y-%m-%d}"]))
    if now < begins:
        return Check(what, "mend", f"valid from {begins:%Y-%m-%d %H:%M} UTC", "set this machine's clock, by NTP")
    if now >= ends:
        return Check(what, "mend", f"ended on {ends:%Y-%m-%d}", renew)
    if now > ends - _SOON:
        return Check(what, "look", found, f"soon: {renew}")
    return Check(what, "good", found)
