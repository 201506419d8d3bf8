"""A federation that was provisioned for tests, with sites that joined it."""

from datetime import UTC, datetime
from pathlib import Path

from cmrfed.provision import Coordinator, FederationDescription, Invitation, Joined, join, read_invitation

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
"""When it is in these tests: no certificate of theirs is valid by accident."""


def described(**changes: object) -> FederationDescription:
    values = {"name": "hearts", "servers": ["fed.example.org", "192.0.2.7"], "sites": ["North", "South 2"]}
    return FederationDescription.model_validate(values | changes)


def provisioned(folder: Path, now: datetime = NOW, **changes: object) -> Coordinator:
    return Coordinator.provision(folder, described(**changes), now)


def invitation_of(coordinator: Coordinator, site: str, now: datetime = NOW) -> Invitation:
    path = coordinator.invitation(site)
    return read_invitation(path.read_text(encoding="utf-8"), str(path), now)


def joined(coordinator: Coordinator, site: str, home: Path, rotate: bool = False) -> Joined:
    return join(home, invitation_of(coordinator, site), rotate)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path, to see that nothing was replaced."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
