"""What starts SuperLink and proxy, on a machine and in containers, rendered from the templates of this package."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cmrfed.config import UserError
from cmrfed.provision.description import FederationDescription

_ON_A_MACHINE = ("superlink.sh", "cmrfed-superlink.service", "nginx.conf", "flwr/config.toml")
_IN_CONTAINERS = {
    "containers/superlink.sh": "superlink.sh",
    "containers/nginx.conf": "containers/nginx.conf",
    "containers/flwr/config.toml": "flwr/config.toml",
}
"""Each file, and the template of it."""

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment in which neither Flower nor Ray tells anybody anything, or installs what a run asks for."""


@dataclass(frozen=True)
class Place:
    """Where a server's programs find what they need.

    keys: the folder with server.pem and ca.crt; state: what SuperLink and `flwr` write to; programs: Flower's commands.
    port: where the proxy listens; superlink: the host by which it reaches the SuperLink.
    """

    keys: Path
    state: Path
    programs: Path
    port: int
    superlink: str


CONTAINER = Place(Path("/srv/federation"), Path("/var/lib/cmrfed"), Path("/opt/cmrfed/bin"), 8443, "superlink")
"""As deploy/server/compose.yaml and the chart in deploy/helm/ mount it; who is not root listens above 1023."""


def server_files(description: FederationDescription, folder: Path, programs: Path) -> dict[str, str]:
    """Text by name within `folder`, where the server finds them; `programs` is where Flower's commands are.

    Raises UserError where a path has characters that nginx, systemd and shells take for something else.
    """
    for path in (folder, programs):
        if unsafe := next((letter for letter in str(path) if letter in "\"'\\$%;{}" or not letter.isprintable()), ""):
            raise UserError(
                f"out: {str(path)!r} has {unsafe!r} in it, which a server's files cannot name; choose another"
            )
    machine = Place(folder, folder, programs, description.port, "127.0.0.1")
    facts = {"description": description, "quiet": QUIET}
    texts = {name: render(name, {**facts, "place": machine, "in_container": False}) for name in _ON_A_MACHINE}
    inside = {**facts, "place": CONTAINER, "in_container": True}
    return texts | {name: render(template, inside) for name, template in _IN_CONTAINERS.items()}


def render(name: str, facts: Mapping[str, Any]) -> str:
    """A template of this package with its facts filled in."""
    templates = Environment(
        loader=PackageLoader("cmrfed.provision"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["shell"] = lambda value: shlex.quote(str(value))
    return templates.get_template(f"{name}.jinja").render(facts)
