"""Files and folders that appear whole or not at all.

Each is written under a hidden name beside its place, then given its own name in one step, so that no reader sees half
of it however its writer ends. Unless `durable` is False, content first, then name are on disk when the call returns, so
that a crash of the machine, too, leaves the old or the new. Missing folders on the way are made.

Text is UTF-8. A mode is what the umask leaves of it, as for any new file; secrets and patients' data take `PRIVATE`.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PRIVATE = 0o600
"""For the owner alone to read."""

_SHARED = 0o666


def write_text(path: Path, text: str, mode: int = _SHARED, durable: bool = True) -> None:
    """Replace a file by this text."""
    write_bytes(path, text.encode(), mode, durable)


def write_bytes(path: Path, content: bytes, mode: int = _SHARED, durable: bool = True) -> None:
    """Replace a file by these bytes."""
    with replacing(path, mode, durable) as draft:
        draft.write_bytes(content)


def create(path: Path, content: bytes) -> None:
    """A new file that nobody but its owner may read. Raises FileExistsError, and changes nothing, where there is one:
    unlike a rename, a link never replaces."""
    with _draft(path, PRIVATE) as draft:
        draft.write_bytes(content)
        _sync(draft)
        path.hardlink_to(draft)
    _sync(path.parent)


@contextmanager
def replacing(path: Path, mode: int = _SHARED, durable: bool = True) -> Iterator[Path]:
    """An empty file to fill, with the same suffix in the same folder; at the end of the block it replaces `path`.

    Where the block raises, `path` stays as it was and nothing is left behind.
    """
    with _draft(path, mode) as draft:
        yield draft
        if durable:
            _sync(draft)
        draft.replace(path)
    if durable:
        _sync(path.parent)


@contextmanager
def new_folder(path: Path, mode: int = 0o777) -> Iterator[Path]:
    """A folder to fill, which at the end of the block becomes `path`. There, nothing may be or an empty folder.

    Where the block raises, or `path` holds anything by then (OSError), nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(path)
    try:
        draft.mkdir(mode)
        yield draft
        for written in (*draft.rglob("*"), draft):
            _sync(written)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _sync(path.parent)


def point(link: Path, target: str) -> None:
    """Make or replace a symbolic link."""
    draft = _beside(link)
    try:
        draft.symlink_to(target)
        draft.replace(link)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _draft(path: Path, mode: int) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(path)
    try:  # a secret is closed to others before it is one
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name that nobody else takes, threads and other machines included; with the suffix, by which some writers
    choose the format."""
    return path.with_name(f".{uuid4().hex[:8]}.{path.name}")


def _sync(path: Path) -> None:
    """Put a file's content, or a folder's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
