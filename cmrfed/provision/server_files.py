"""What starts SuperLink and proxy, rendered from the templates of this package."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cmrfed.config import UserError
from cmrfed.provision.description import FederationDescription

_NAMES = ("superlink.sh", "cmrfed-superlink.service", "nginx.conf", "flwr/config.toml")

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment in which neither Flower nor Ray tells anybody anything, or installs what a run asks for."""


def server_files(description: FederationDescription, folder: Path, programs: Path) -> dict[str, str]:
    """Text by name within `folder`, where the server finds them; `programs` is where Flower's commands are.

    Raises UserError where a path has characters that nginx, systemd and shells take for something else.
    """
    for path in (folder, programs):
        if unsafe := next((letter for letter in str(path) if letter in "\"'\\$%;{}" or not letter.isprintable()), ""):
            raise UserError(
                f"out: {str(path)!r} has {unsafe!r} in it, which a server's files cannot name; choose another"
            )
    facts = {"description": description, "folder": folder, "programs": programs, "quiet": QUIET}
    return {name: render(name, facts) for name in _NAMES}


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
