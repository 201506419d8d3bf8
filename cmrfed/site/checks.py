"""Whether a site is ready to take part: each thing looked at alone, with what was found and what to do about it.

For the hospital's own eyes: what is found here is told to nobody else.
"""

import http.client
import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch
from cryptography import x509

from cmrfed.config import UserError, read_stage_yaml
from cmrfed.outputs import open_to_others
from cmrfed.provision import Connection, read_connection
from cmrfed.provision.certificates import certificate_fingerprint, read_certificate
from cmrfed.provision.connection import NODE_KEY
from cmrfed.provision.node_key import public_half
from cmrfed.site.division import HELD_OUT, TRAINED_ON, refuse_twins
from cmrfed.site.home import Home
from cmrfed.site.policy import SitePolicy
from cmrfed.slices import Slices

_SOON = timedelta(days=30)
_LEAST_FREE_GIB = 5.0
"""Below this a long run may end for want of room: it writes an answer and the weights it began from for each round."""
_CLOCK_TOLERANCE_S = 4.0
"""Flower takes no request of a node whose clock is more than five seconds ahead; a second is the header's own."""
_TIMEOUT_S = 10.0

Verdict = Literal["good", "look", "mend"]
"""All is well; worth knowing; must be mended before the site can take part."""


@dataclass(frozen=True)
class SiteCheck:
    """One thing that was looked at. `to_do` is empty where it is good."""

    what: str
    verdict: Verdict
    found: str
    to_do: str = ""


@dataclass(frozen=True)
class Answer:
    """What the server showed: its certificate, and its clock beside this machine's; or why it could not be reached."""

    certificate: x509.Certificate | None = None
    theirs: datetime | None = None
    ours: datetime = field(default_factory=lambda: datetime.now(UTC))
    failed: SiteCheck | None = None


def check_site(home: Path, now: datetime, node: Path | None = None) -> list[SiteCheck]:
    """All checks, in the order in which one would mend what they find. `node`: its folder, by default the home."""
    local = [check_permissions, check_policy, check_slices, check_ledger, check_disk, check_device]
    found = [_caught(check, home) for check in local]
    try:
        connection = read_connection(node or home)
    except UserError as error:
        return [*found, SiteCheck("connection", "mend", str(error), "join the federation"), *check_versions()]
    authority = check_authority(connection, now)
    known_by = check_server(connection, now) if authority.verdict != "mend" else ()
    return [*found, check_name(home, connection), check_key(connection), authority, *known_by, *check_versions()]


def _caught(check: Callable[[Path], SiteCheck], home: Path) -> SiteCheck:
    """What a check found; a home that cannot be read at all is something to mend too."""
    try:
        return check(home)
    except (UserError, OSError) as error:
        return SiteCheck(check.__name__.removeprefix("check_"), "mend", str(error), "mend what it names")


def check_permissions(home: Path) -> SiteCheck:
    """That nobody else on this machine can read the home."""
    if not home.is_dir():
        return SiteCheck("permissions", "mend", f"{home}: no such folder", "join first: cmrfed site join")
    said = open_to_others(home, (TRAINED_ON, HELD_OUT, NODE_KEY, "identity.pem", "division.json"))
    if said:
        return SiteCheck("permissions", "mend", "others on this machine can read it", f"chmod -R go-rwx {home}")
    return SiteCheck("permissions", "good", f"{home} is closed to others")


def check_policy(home: Path) -> SiteCheck:
    """That the policy reads."""
    policy = read_stage_yaml(SitePolicy, home / "site.yaml")
    found = f"{policy.name}: epsilon at most {policy.maximum_epsilon:g}, delta {policy.maximum_delta:g}"
    return SiteCheck("policy", "good", found)


def check_slices(home: Path) -> SiteCheck:
    """That there are whole slices, each patient's once, of as many patients as the policy asks for."""
    path = home / TRAINED_ON
    if not path.exists():
        return SiteCheck("slices", "mend", "none yet", f"cmrfed prepare data=... data.root=... home={home}")
    slices = Slices.load(path)
    refuse_twins(slices, str(path))  # reads every image
    found = f"{slices.number_of_patients} patients, {len(slices)} slices"
    least = read_stage_yaml(SitePolicy, home / "site.yaml").minimum_patients
    if slices.number_of_patients < least:
        return SiteCheck("slices", "mend", found, f"minimum_patients in site.yaml is {least}: add patients")
    return SiteCheck("slices", "good", found)


def check_ledger(home: Path) -> SiteCheck:
    """That what was spent is all there."""
    ledger = Home(home).ledger
    if not ledger.path.exists():
        ledger.head()  # raises where an anchor or this home knows of one that is gone
        return SiteCheck("ledger", "good", f"none yet; the first release begins it in {ledger.path}")
    book = ledger.verify()
    return SiteCheck("ledger", "good", f"whole: {len(book.rows)} rows in {ledger.path}")


def check_disk(home: Path) -> SiteCheck:
    """That rounds have room."""
    free = shutil.disk_usage(home).free / 2**30
    if free < _LEAST_FREE_GIB:
        return SiteCheck("disk", "mend", f"{free:.1f} GiB free", f"make room: {_LEAST_FREE_GIB:g} GiB at least")
    return SiteCheck("disk", "good", f"{free:.0f} GiB free")


def check_device(home: Path) -> SiteCheck:
    """What this site computes on."""
    asked = read_stage_yaml(SitePolicy, home / "site.yaml").execution.device
    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / 2**30
        return SiteCheck("GPU", "good", f"{name}, {memory:.0f} GiB; site.yaml says device: {asked}")
    if asked.startswith("cuda"):
        return SiteCheck("GPU", "mend", f"none, and site.yaml says device: {asked}", "set execution.device: auto")
    return SiteCheck("GPU", "look", f"none; {os.cpu_count()} processors", "rounds take longer; nothing must be done")


def check_name(home: Path, connection: Connection) -> SiteCheck:
    """That the policy bears the name by which the federation knows the site."""
    to_do = f"the federation knows this site as {connection.site!r}: set name in site.yaml"
    try:
        own = read_stage_yaml(SitePolicy, home / "site.yaml").name
    except UserError:
        return SiteCheck("name", "look", "site.yaml says none", to_do)
    return SiteCheck("name", "good", own) if own == connection.site else SiteCheck("name", "look", own, to_do)


def check_key(connection: Connection) -> SiteCheck:
    """That the node's key is here, and nobody else's to read."""
    path = Path(connection.node_key)
    try:
        shown = public_half(path).fingerprint
    except UserError as error:
        return SiteCheck("node key", "mend", str(error), "ask for a new invitation; join with rotate=true")
    if path.stat().st_mode & 0o077:
        return SiteCheck("node key", "mend", f"{path} can be read by others", f"chmod 600 {path}")
    return SiteCheck("node key", "good", shown)


def check_authority(connection: Connection, now: datetime) -> SiteCheck:
    """That the certificate by which the server is known is here and valid."""
    path = Path(connection.root_certificates)
    try:
        certificate = read_certificate(path.read_bytes(), str(path))
    except (OSError, UserError) as error:
        return SiteCheck("authority", "mend", str(error), "join again with the invitation")
    renew = "ask the coordinator: the federation must be provisioned anew"
    return _dates("authority", certificate, now, renew, certificate_fingerprint(certificate))


def check_server(connection: Connection, now: datetime) -> Iterator[SiteCheck]:
    """That the server answers, is who it says, and that both clocks agree."""
    answer = ask(connection)
    if answer.failed:
        yield answer.failed
        return
    yield SiteCheck("server", "good", f"{connection.superlink} answers, with a certificate of our authority")
    if answer.certificate:
        yield _dates("server certificate", answer.certificate, now, "the coordinator runs: cmrfed provision rotate")
    yield check_clock(answer)


def check_clock(answer: Answer) -> SiteCheck:
    """Whether this machine's clock is near enough the server's for the node's signed requests."""
    if answer.theirs is None:
        return SiteCheck("clock", "look", "the server did not say its time", "see that this machine's is right (NTP)")
    ahead = (answer.ours - answer.theirs).total_seconds()
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    if abs(ahead) > _CLOCK_TOLERANCE_S:
        return SiteCheck("clock", "mend", found, "set this machine's clock, by NTP (timedatectl set-ntp true)")
    return SiteCheck("clock", "good", found)


def check_versions() -> Iterator[SiteCheck]:
    """What is installed: every site and the server need the same cmrfed and Flower."""
    for name in ("cmrfed", "flwr", "torch"):
        try:
            yield SiteCheck(name, "good", version(name))
        except PackageNotFoundError:
            yield SiteCheck(name, "mend", "is not installed", f"pip install {name}")


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


def _not_reached(connection: Connection, error: Exception) -> SiteCheck:
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
    return SiteCheck("server", "mend", found, to_do)


def _dates(what: str, certificate: x509.Certificate, now: datetime, renew: str, shown: str = "") -> SiteCheck:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    found = ", ".join(filter(None, [shown, f"until {ends:%Y-%m-%d}"]))
    if now < begins:
        return SiteCheck(what, "mend", f"valid from {begins:%Y-%m-%d %H:%M} UTC", "set this machine's clock, by NTP")
    if now >= ends:
        return SiteCheck(what, "mend", f"ended on {ends:%Y-%m-%d}", renew)
    if now > ends - _SOON:
        return SiteCheck(what, "look", found, f"soon: {renew}")
    return SiteCheck(what, "good", found)
