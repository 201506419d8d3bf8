"""What a coordinator writes down of a federation, by hand, before anything is made: `federation.yaml`."""

import ipaddress
import re
import unicodedata
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from cmrfed.config import Stage, read_stage_yaml

SITE_NAME = r"^\w([\w .-]*[\w-])?$"
LONGEST_SITE_NAME = 60
"""Characters: a site's name is a file's name too, of at most 255 bytes."""

SiteName = Annotated[str, Field(max_length=LONGEST_SITE_NAME, pattern=SITE_NAME)]
Port = Annotated[int, Field(ge=1, le=65_535)]
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def _host(text: str) -> str:
    """A DNS name in lower case, or an IP address as it is usually written. Raises ValueError for anything else."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        name = text.lower()
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise ValueError("is neither a DNS name nor an IP address; give it without https:// and port")
    return name


def same_name(name: str) -> str:
    """What two names have in common that a person, or a file system, takes for one."""
    return unicodedata.normalize("NFKC", name).casefold()


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for name in names:
        if before := seen.get(same_name(name)):
            raise ValueError(f"{before!r} and {name!r} are one name; give each site its own")
        seen[same_name(name)] = name
    return names


class FederationDescription(Stage):
    """What sites connect to, and which sites there are.

    servers: DNS names and IP addresses by which the server is reached, the first of them by the sites.
    port: where sites reach it, at the proxy; superlink_port: where Flower's SuperLink listens behind it, on loopback.
    sites: who is invited.
    certificate_days, authority_days, invitation_days: how long the server's certificate, the authority that signs it
        and an invitation are valid.
    """

    name: str = Field(max_length=60, pattern=SITE_NAME)
    servers: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(min_length=1, max_length=50)
    port: Port = 443
    superlink_port: Port = 8000
    sites: Annotated[tuple[SiteName, ...], AfterValidator(_different)] = ()
    certificate_days: int = Field(default=365, ge=1, le=825)
    authority_days: int = Field(default=3650, ge=1, le=7300)
    invitation_days: int = Field(default=14, ge=1, le=365)

    @property
    def superlink(self) -> str:
        """What sites connect to, host:port."""
        host = self.servers[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def read_description(path: Path) -> FederationDescription:
    """What a person wrote. Raises UserError, one line, naming the file and the key."""
    return read_stage_yaml(FederationDescription, path)
