"""What a hospital does with an invitation. Its private key is made here and never leaves."""

from dataclasses import dataclass
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.core import atomic
from cmrfed.outputs import private_folder
from cmrfed.provision.connection import (
    AUTHORITY,
    CONNECTION,
    NODE_KEY,
    NODE_PUBLIC,
    Connection,
    write_connection,
)
from cmrfed.provision.invitation import Invitation
from cmrfed.provision.node_key import NodeKey, create_private_key, public_half, read_node_key


@dataclass(frozen=True)
class Joined:
    """A home that has joined: its node's public key, the file to send, and whether it had joined before."""

    key: NodeKey
    public: Path
    before: bool


def join(home: Path, invitation: Invitation, rotate: bool = False) -> Joined:
    """Make the node's key and write how its server is reached. With the same invitation again nothing changes.

    Raises UserError where the home joined with another invitation, unless `rotate`: then it has a new key, and its
    node is let in again once the coordinator has registered that. The connection is written last: a home without one
    has not joined, and whoever was interrupted joins again.
    """
    private_folder(home)
    joined = (home / CONNECTION).exists()
    if joined and _joined_with(home, invitation):
        return Joined(public_half(home / NODE_KEY), home / NODE_PUBLIC, before=True)
    if joined and not rotate:
        raise UserError(
            f"{home}: has joined already, with another invitation; give another home, or rotate=true for a new key "
            "and connection in this one"
        )
    path = home / NODE_KEY
    key = public_half(path) if path.exists() and not joined else create_private_key(path)
    atomic.write_text(home / NODE_PUBLIC, key.line(invitation.site, invitation.code))
    atomic.write_bytes(home / AUTHORITY, invitation.authority_pem)
    write_connection(home, _connection(home, invitation))
    return Joined(key, home / NODE_PUBLIC, before=False)


def _joined_with(home: Path, invitation: Invitation) -> bool:
    """Whether the home's key was made with this very invitation: its line proves that."""
    path = home / NODE_PUBLIC
    if not path.exists():
        return False
    key = read_node_key(path.read_text(encoding="utf-8"), str(path))
    return key.proves(invitation.site, invitation.code) and key.bare == public_half(home / NODE_KEY).bare


def _connection(home: Path, invitation: Invitation) -> Connection:
    return Connection(
        superlink=invitation.superlink,
        root_certificates=str((home / AUTHORITY).resolve()),
        node_key=str((home / NODE_KEY).resolve()),
        federation=invitation.federation,
        site=invitation.site,
    )
