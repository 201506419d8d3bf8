"""A phantom heart that a test has drawn is there for the next test that wants the same: half a second each.

A heart is decided by its seed, vendor and number alone. The phantom's own tests make sure of it, and draw each anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import pytest

from cmrfed.phantom import scan
from cmrfed.phantom.scan import Scan

_USERS = ("cmrfed.phantom", "cmrfed.phantom.layout")
_drawn = lru_cache(maxsize=64)(scan.scan_patient)


@contextmanager
def known() -> Iterator[None]:
    """Within, hearts are drawn once."""
    yield from _with(scan_patient)


@contextmanager
def unknown() -> Iterator[None]:
    """Within, hearts are drawn whenever they are asked for, as the product does."""
    yield from _with(scan.scan_patient)


def _with(function: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in _USERS:
            patch.setattr(f"{module}.scan_patient", function)
        yield


def scan_patient(seed: int, vendor: str | None, index: int) -> Scan:
    """As the product's, with arrays that are the caller's own."""
    kept = _drawn(seed, vendor, index)
    images, masks = ({phase: one.copy() for phase, one in part.items()} for part in (kept.images, kept.masks))
    return replace(kept, images=images, masks=masks)
