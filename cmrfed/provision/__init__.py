"""From an invitation to a connected site: certificates, invitations and nodes' keys. Knows no Flower.

At the coordinator `Coordinator` is a folder: a certificate authority, the server's certificate, an invitation for each
site, and which site has which key. At a hospital `join` makes the node's key, which never leaves, from an invitation
alone, and writes the `Connection` with which a node finds its server. Two people on the phone read two fingerprints to
each other: that of the authority, so that nobody stands between, and that of the key, so that nobody else takes the
hospital's place.
"""

from cmrfed.provision.connection import Connection, read_connection
from cmrfed.provision.coordinator import Coordinator
from cmrfed.provision.description import FederationDescription, read_description
from cmrfed.provision.invitation import Invitation, read_invitation
from cmrfed.provision.joining import Joined, join
from cmrfed.provision.register import Register

__all__ = [
    "Connection",
    "Coordinator",
    "FederationDescription",
    "Invitation",
    "Joined",
    "Register",
    "join",
    "read_connection",
    "read_description",
    "read_invitation",
]
