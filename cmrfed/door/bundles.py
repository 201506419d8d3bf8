"""Which apps may ask this hospital anything at all: those whose bundle its engineer has read and approved.

A bundle (a FAB of Flower's: a zip of the app's files) is known by the SHA-256 of its bytes. What asks with one that is
not approved is refused, and the bundle is kept for the engineer to read, `cmrfed site approve`, beside what has changed
since the last that was approved. Nothing in a bundle is ever run or unpacked to disk.
"""

import difflib
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cmrfed.config import Stage, UserError, read_stage_json
from cmrfed.core import atomic
from cmrfed.outputs import private_folder

LARGEST_BUNDLE = 2**20
_LARGEST_UNPACKED = 8 * 2**20
_MOST_WAITING = 20
"""Bundles kept for reading; with more, a new one takes the place of the oldest."""


class _Approved(Stage):
    """SHA-256 of each approved bundle, hex, the last approved last."""

    bundles: tuple[str, ...] = ()


class Bundles:
    """The bundles in a folder of the home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def approved(self) -> tuple[str, ...]:
        path = self.folder / "approved.json"
        return read_stage_json(_Approved, path).bundles if path.exists() else ()

    def waiting(self) -> list[str]:
        """Those that came and are not approved, the newest last."""
        files = sorted(self.folder.glob("*.fab"), key=lambda path: path.stat().st_mtime)
        approved = self.approved
        return [path.stem for path in files if path.stem not in approved]

    def admits(self, bundle: bytes) -> bool:
        """Whether it is approved; where not, it is kept for reading."""
        if len(bundle) > LARGEST_BUNDLE:
            raise UserError(f"a bundle of {len(bundle)} bytes is larger than the allowed {LARGEST_BUNDLE}")
        found = hashlib.sha256(bundle).hexdigest()
        if found in self.approved:
            return True
        self._keep(found, bundle)
        return False

    def approve(self, digest: str) -> None:
        """Let it ask from now on."""
        self.content(digest)
        kept = tuple(one for one in self.approved if one != digest)
        self._write((*kept, digest))

    def withdraw(self, digest: str) -> None:
        """Let it ask no longer. Raises UserError where it was not approved."""
        if digest not in self.approved:
            raise UserError(f"{self.folder}: {digest} is not approved; there is nothing to withdraw")
        self._write(tuple(one for one in self.approved if one != digest))

    def content(self, digest: str) -> bytes:
        """Its bytes. Raises UserError where it never came, or is no longer what came."""
        path = self.folder / f"{digest}.fab"
        if not path.exists():
            raise UserError(f"{self.folder}: holds no bundle {digest}; `cmrfed site approve` lists those that wait")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"{path}: is damaged; delete it, it comes again when it asks again")
        return content

    def changes(self, digest: str) -> Iterator[str]:
        """Its text, as lines of a unified diff from the bundle that was approved last (from nothing, before there was
        one)."""
        last = next((one for one in reversed(self.approved) if one != digest), None)
        before = _files(self.content(last)) if last else {}
        after = _files(self.content(digest))
        for name in sorted({*before, *after}):
            old, new = before.get(name, []), after.get(name, [])
            yield from difflib.unified_diff(old, new, f"before/{name}", f"now/{name}", n=2, lineterm="")

    def _keep(self, digest: str, bundle: bytes) -> None:
        path = private_folder(self.folder) / f"{digest}.fab"
        if path.exists():
            return
        waiting = self.waiting()
        for oldest in waiting[: max(0, len(waiting) - _MOST_WAITING + 1)]:
            (self.folder / f"{oldest}.fab").unlink()
        atomic.write_bytes(path, bundle, mode=atomic.PRIVATE)

    def _write(self, bundles: tuple[str, ...]) -> None:
        private_folder(self.folder)
        text = _Approved(bundles=bundles).model_dump_json()
        atomic.write_text(self.folder / "approved.json", text, mode=atomic.PRIVATE)


def _files(bundle: bytes) -> dict[str, list[str]]:
    """The lines of each file by name. Raises UserError where it is no zip of a moderate size."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > _LARGEST_UNPACKED:
                raise UserError("the bundle unpacks to more than an app takes; do not approve it")
            return {entry.filename: _lines(packed.read(entry)) for entry in packed.infolist() if not entry.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise UserError(f"the bundle cannot be read ({error}); do not approve it") from None


def _lines(content: bytes) -> list[str]:
    """A text by lines; of anything else its digest, which says at least whether it changed."""
    try:
        return content.decode().splitlines()
    except UnicodeDecodeError:
        return [f"({len(content)} bytes that are no text, SHA-256 {hashlib.sha256(content).hexdigest()})"]
