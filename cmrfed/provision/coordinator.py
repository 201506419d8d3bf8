"""A coordinator's folder, which is its own:

federation.yaml      what it was made from
sites.yaml           who was invited, and by which key each site's node is known
invitations/         each open invitation, as text and as a QR code of it, to send to that site and to nobody else
authority/           the certificate authority's key: whoever has it can pose as the server; keep it off the server
server/              all that the server needs: certificate and key, ca.crt, and how to start SuperLink and proxy
README.txt           this, for whoever finds the folder

All of it is readable by its owner alone. What is there is never replaced, but for what a command is there to replace.
"""

import base64
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cmrfed.config import UserError
from cmrfed.core import atomic
from cmrfed.outputs import private_folder
from cmrfed.provision.certificates import (
    Authority,
    certificate_fingerprint,
    new_key,
    private_pem,
    read_certificate,
    read_private_pem,
)
from cmrfed.provision.description import FederationDescription, read_description
from cmrfed.provision.invitation import Invitation, qr_code
from cmrfed.provision.invited import InvitedSites, OpenInvitation, read_sites, write_sites
from cmrfed.provision.node_key import NodeKey
from cmrfed.provision.server_files import render, server_files

_FIXED = ("name", "servers", "port", "superlink_port")
"""What invitations and the server's files say, so that another description cannot change it unseen."""


class Coordinator:
    """The folder, and the description in it. Raises UserError where it was not provisioned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "federation.yaml").exists():
            raise UserError(
                f"{folder}: is no coordinator's folder; `cmrfed provision federation=FILE out={folder}` makes one"
            )
        self.description = read_description(folder / "federation.yaml")

    @classmethod
    def provision(cls, folder: Path, description: FederationDescription, now: datetime) -> "Coordinator":
        """Make what is missing of the folder, and invite whom the description names and nobody invited before.

        Raises UserError where the folder was made from a description that differs in what cannot be added.
        """
        private_folder(folder)
        path = folder / "federation.yaml"
        if not path.exists():
            text = yaml.safe_dump(description.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
            atomic.write_text(path, text, mode=atomic.PRIVATE)
        made = cls(folder)
        made._refuse_another(description)
        with made._locked():
            made._lay_out(now)
            made._invite_missing(description.sites, now)
        return made

    @property
    def sites(self) -> InvitedSites:
        return read_sites(self.folder / "sites.yaml")

    @property
    def server(self) -> Path:
        """The folder with all that the server needs."""
        return self.folder / "server"

    @property
    def state(self) -> Path:
        """Where the SuperLink's state lies, and the register that belongs to it: `server/` too. In containers that can
        only be read, and CMRFED_STATE names another folder."""
        return Path(os.environ.get("CMRFED_STATE") or self.server)

    @property
    def authority(self) -> x509.Certificate:
        """The authority's certificate."""
        path = self.server / "ca.crt"
        return read_certificate(path.read_bytes(), str(path))

    @property
    def server_certificate(self) -> x509.Certificate:
        path = self.server / "server.pem"
        return read_certificate(path.read_bytes(), str(path))

    def invitation(self, name: str) -> Path:
        """Where a site's open invitation is."""
        return self.folder / "invitations" / f"{name}.txt"

    def add(self, name: str, now: datetime) -> Path:
        """Invite one more site; returns the file to send."""
        with self._locked():
            return self._invite_new(name, now)

    def register(self, name: str, key: NodeKey, said: str, now: datetime) -> None:
        """Take a site's key: its node may connect from now on. `said` is the fingerprint that was read out.

        Raises UserError as `InvitedSites.registered` does, and where the invitation has ended.
        """
        with self._locked():
            site = self.sites.site(name)
            if site.invitation and now >= site.invitation.expires:
                raise UserError(
                    f"site: the invitation of {name!r} ended on {site.invitation.expires:%Y-%m-%d}; cmrfed provision "
                    f"rotate site={name!r} makes a new one"
                )
            write_sites(self.folder / "sites.yaml", self.sites.registered(name, key, said))
            self._withdraw_invitation(name)

    def revoke(self, name: str) -> None:
        """Take a site's right to connect, and the invitation that it may have."""
        with self._locked():
            write_sites(self.folder / "sites.yaml", self.sites.revoked(name))
            self._withdraw_invitation(name)

    def invite_again(self, name: str, now: datetime) -> Path:
        """A new invitation for a site that is known, so that it makes a new key; earlier invitations are void.

        A registered site's node may connect by its present key until the new one is registered.
        """
        with self._locked():
            site = self.sites.site(name)
            return self._invite(name, "registered" if site.state == "registered" else "invited", now)

    def renew_certificate(self, now: datetime) -> x509.Certificate:
        """A new key and certificate for the server, which sites trust as they did the one it replaces."""
        with self._locked():
            atomic.write_bytes(self.server / "server.pem", self._server_pem(now), mode=atomic.PRIVATE)
        return self.server_certificate

    def _lay_out(self, now: datetime) -> None:
        for name in ("authority", "server", "invitations"):
            private_folder(self.folder / name)
        self._make_authority(now)
        if not (self.server / "server.pem").exists():
            atomic.write_bytes(self.server / "server.pem", self._server_pem(now), mode=atomic.PRIVATE)
        for name, text in server_files(self.description, self.server, Path(sys.executable).parent).items():
            if not (self.server / name).exists():
                private_folder((self.server / name).parent)
                atomic.write_text(self.server / name, text, mode=0o700 if name.endswith(".sh") else atomic.PRIVATE)
        if not (self.folder / "README.txt").exists():
            facts = {"description": self.description, "fingerprint": certificate_fingerprint(self.authority)}
            atomic.write_text(self.folder / "README.txt", render("README.txt", facts), mode=atomic.PRIVATE)

    def _make_authority(self, now: datetime) -> None:
        """Its key first: a certificate without its key could sign nothing, and a key without one gets it here."""
        path = self.folder / "authority" / "authority.key"
        if (self.server / "ca.crt").exists():
            return
        if not path.exists():
            atomic.create(path, private_pem(new_key()))
        key = read_private_pem(path.read_bytes(), str(path))
        made = Authority.create(self.description.name, key, self.description.authority_days, now)
        atomic.write_bytes(self.server / "ca.crt", made.certificate.public_bytes(Encoding.PEM))

    def _server_pem(self, now: datetime) -> bytes:
        path = self.folder / "authority" / "authority.key"
        if not path.exists():
            raise UserError(f"{path}: is missing; bring the authority's key back here for as long as this takes")
        authority = Authority(self.authority, read_private_pem(path.read_bytes(), str(path)))
        return authority.server_certificate(self.description.servers, self.description.certificate_days, now)

    def _invite_missing(self, names: tuple[str, ...], now: datetime) -> None:
        """Whoever was not invited before; and the files of open invitations that are gone, as they were."""
        for name in names:
            if name not in self.sites.sites:
                self._invite_new(name, now)
        for name, site in self.sites.sites.items():
            if site.invitation and now < site.invitation.expires and not self.invitation(name).exists():
                self._write_invitation(name, site.invitation)

    def _invite_new(self, name: str, now: datetime) -> Path:
        self.sites.refuse_taken(name)
        return self._invite(name, "invited", now)

    def _invite(self, name: str, state: str, now: datetime) -> Path:
        """Known here first, so that no invitation is out whose code nobody knows."""
        expires = now.replace(microsecond=0) + timedelta(days=self.description.invitation_days)
        invitation = OpenInvitation(code=secrets.token_hex(16), expires=expires)
        write_sites(self.folder / "sites.yaml", self.sites.with_site(name, state=state, invitation=invitation))
        return self._write_invitation(name, invitation)

    def _write_invitation(self, name: str, open_one: OpenInvitation) -> Path:
        invitation = Invitation(
            federation=self.description.name,
            site=name,
            superlink=self.description.superlink,
            authority=base64.b64encode(self.authority.public_bytes(Encoding.DER)).decode(),
            fingerprint=certificate_fingerprint(self.authority),
            code=open_one.code,
            expires=open_one.expires,
        )
        path = self.invitation(name)
        self._withdraw_invitation(name)
        if picture := qr_code(invitation.text):
            atomic.write_bytes(self._qr_code(name), picture, mode=atomic.PRIVATE)
        atomic.write_text(path, render("invitation.txt", {"invitation": invitation}), mode=atomic.PRIVATE)
        return path

    def _withdraw_invitation(self, name: str) -> None:
        self.invitation(name).unlink(missing_ok=True)
        self._qr_code(name).unlink(missing_ok=True)

    def _qr_code(self, name: str) -> Path:
        return self.folder / "invitations" / f"{name}.png"

    def _refuse_another(self, description: FederationDescription) -> None:
        for key in _FIXED:
            own, found = getattr(self.description, key), getattr(description, key)
            if own != found:
                raise UserError(
                    f"{key}: {self.folder} was made for {_plain(own)}, found {_plain(found)}; give another folder, or "
                    f"change {self.folder / 'federation.yaml'} as README.txt there says"
                )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time: what two of them read and write again would lose what one of them did."""
        with (self.folder / "federation.yaml").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _plain(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
