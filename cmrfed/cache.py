"""Where what is slow to make and holds nothing of any patient is kept between runs."""

import os
from pathlib import Path

from omegaconf import OmegaConf

from cmrfed.config import UserError


def cache_folder() -> Path:
    """$CMRFED_CACHE, else $XDG_CACHE_HOME/cmrfed, else ~/.cache/cmrfed. Never patients' data.

    Raises UserError for a user without a home when neither variable is set.
    """
    own = os.environ.get("CMRFED_CACHE")
    return Path(own) if own else _folder("XDG_CACHE_HOME", ".cache", "CMRFED_CACHE")


def data_folder() -> Path:
    """$XDG_DATA_HOME/cmrfed, else ~/.local/share/cmrfed: what must outlive every run, as a hospital's ledger.

    Raises UserError for a user without a home when the variable is not set.
    """
    return _folder("XDG_DATA_HOME", ".local/share", "XDG_DATA_HOME")


def _folder(variable: str, below_home: str, to_set: str) -> Path:
    """By the XDG base directory specification."""
    try:
        return Path(os.environ.get(variable) or Path.home() / below_home) / "cmrfed"
    except RuntimeError:
        raise UserError(f"{to_set}: is not set, nor is HOME; set it to a folder for what cmrfed keeps") from None


OmegaConf.register_new_resolver("cmrfed_cache", lambda: str(cache_folder()), replace=True)
"""What configs call the folder: ${cmrfed_cache:}"""
