"""The server's app."""

import cmrfed.apps  # noqa: F401 - first, and whole
from cmrfed.apps.server.app import app

__all__ = ["app"]
