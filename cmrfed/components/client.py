"""The client's app."""

import cmrfed.apps  # noqa: F401 - first, and whole
from cmrfed.apps.client.app import app

__all__ = ["app"]
