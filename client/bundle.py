"""The app of this installation as Flower sends it."""

from flwr.cli.build import build_fab_from_disk

from cmrfed import apps


def own_bundle() -> bytes:
    """The bundle that `flwr run` makes of this installation's apps; the same bytes for the same files."""
    return build_fab_from_disk(apps.FOLDER)
