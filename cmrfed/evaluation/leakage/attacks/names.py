"""Patients' names in a report: a keyed hash that nobody can look up without the key.

A plain hash of a name is no secret: whoever has a list of names hashes them all. HMAC-SHA-256 with 32 random bytes,
drawn for each run and kept with the patients' own data, can be resolved only where the patients are known anyway.
"""

import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cmrfed.core import atomic


def name_key(path: Path) -> bytes:
    """The key in that file; made at the first call, readable by its owner alone."""
    if not path.exists():
        with suppress(FileExistsError):  # whoever was first decides
            atomic.create(path, secrets.token_bytes(32))
    return path.read_bytes()


def hashed_names(names: Sequence[str], key: bytes) -> list[str]:
    """Sixteen hex digits for each name."""
    return [hmac.digest(key, name.encode(), "sha256").hex()[:16] for name in names]
