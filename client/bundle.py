"""An app as Flower sends it."""

from pathlib import Path

from flwr.cli.build import build_fab_from_disk


def bundle_of(folder: Path) -> bytes:
    """The bundle that `flwr run` makes of the apps in a folder; the same bytes for the same files."""
    return build_fab_from_disk(folder)
