"""A phantom heart that a test has drawn is there for the next test that wants the same: half a second each.

A heart is decided by its seed, vendor and number alone. The phantom's own tests make sure of it, and draw each anew.
"""

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from cmrfed.phantom import scan
from cmrfed.phantom.scan import Scan

_USERS = ("cmrfed.phantom", "cmrfed.phantom.layout")
_FOLDERS: list[Path] = []
"""The one, while hearts are known, where all processes of a session keep theirs."""


@contextmanager
def known(folder: Path) -> Iterator[None]:
    """Within, hearts are drawn once, by whichever process wants one first. Each removes its own in the end."""
    folder.mkdir(exist_ok=True)
    _FOLDERS.append(folder)
    yield from _with(scan_patient)
    _FOLDERS.remove(folder)
    for path in folder.glob(f"*.by{os.getpid()}"):
        path.unlink()


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


@lru_cache(maxsize=64)
def _drawn(seed: int, vendor: str | None, index: int) -> Scan:
    name = f"{seed}-{vendor}-{index}"
    for path in _FOLDERS[0].glob(f"{name}.by*"):
        try:
            return pickle.loads(path.read_bytes())
        except FileNotFoundError:  # its process has just ended
            continue
    drawn = scan.scan_patient(seed, vendor, index)
    unfinished = _FOLDERS[0] / f"{name}.unfinished{os.getpid()}"
    unfinished.write_bytes(pickle.dumps(drawn))
    unfinished.rename(_FOLDERS[0] / f"{name}.by{os.getpid()}")
    return drawn
