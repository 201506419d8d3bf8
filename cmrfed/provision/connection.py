"""How a site's node finds its server and is known by it: `connection.yaml` in the site's home."""

from pathlib import Path

import yaml
from pydantic import Field

from cmrfed.config import Stage, UserError, read_stage_yaml
from cmrfed.core import atomic
from cmrfed.provision.description import SITE_NAME, SiteName

CONNECTION, AUTHORITY, NODE_KEY, NODE_PUBLIC = "connection.yaml", "ca.crt", "node.key", "node.pub"
"""Names of the files that joining puts into a home."""


class Connection(Stage):
    """What `cmrfed site join` wrote down.

    superlink: host:port of the federation's server.
    root_certificates: absolute path of the authority's certificate: the server must show one that it signed.
    node_key: absolute path of this node's private key, in OpenSSH's form; it never leaves.
    federation, site: what the federation is called, and this site in it.
    """

    superlink: str = Field(max_length=300)
    root_certificates: str = Field(max_length=4096)
    node_key: str = Field(max_length=4096)
    federation: str = Field(max_length=60, pattern=SITE_NAME)
    site: SiteName

    @property
    def host(self) -> str:
        """Of the server, without brackets."""
        return self.superlink.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.superlink.rpartition(":")[2])


def read_connection(home: Path) -> Connection:
    """A home's connection. Raises UserError where the site did not join."""
    path = home / CONNECTION
    if not path.exists():
        raise UserError(f"{path}: is missing; `cmrfed site join invitation=FILE home={home}` writes it")
    return read_stage_yaml(Connection, path)


def write_connection(home: Path, connection: Connection) -> None:
    text = yaml.safe_dump(connection.model_dump(), sort_keys=False, allow_unicode=True)
    atomic.write_text(home / CONNECTION, text, mode=atomic.PRIVATE)
