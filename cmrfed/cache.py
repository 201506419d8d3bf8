"""Where what is slow to make and holds nothing of any patient is kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$CMRFED_CACHE, else ~/.cache/cmrfed. Never patients' data."""
    return Path(os.environ.get("CMRFED_CACHE") or Path.home() / ".cache" / "cmrfed")


def data_folder() -> Path:
    """$XDG_DATA_HOME/cmrfed, else ~/.local/share/cmrfed: what must outlive every run, as a hospital's ledger."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "cmrfed"
