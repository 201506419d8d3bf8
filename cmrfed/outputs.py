"""Where a command writes: asked before anything is computed, so that hours are not spent on what cannot be kept.

One rule for every `out=`: what is named is new, or is what the same command wrote there before; the folder takes files;
and the disk has room. Whatever is somebody else's stays as it is. And patients' data are their owner's alone to read.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cmrfed.config import UserError

_LEAST_ROOM_BYTES = 16 * 2**20
"""What any output must find free: below this a disk is full."""

IsOurs = Callable[[Path], bool]
"""Whether the command that asks wrote this file, and nobody changed it since."""


def never(_: Path) -> bool:
    """Of a command that never replaces what it wrote."""
    return False


def output_file(out: Path | str, suffixes: tuple[str, ...], is_ours: IsOurs = never, key: str = "out") -> Path:
    """The absolute path of a file to write, in a folder that is there.

    Raises UserError when it ends in none of the suffixes, something that is not ours is in its place, its folder is
    missing or takes no files, or the disk is full.
    """
    path = Path(out).expanduser().resolve()
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{key}: {path.name} does not end in {' or '.join(suffixes)}; give such a name")
    if not path.parent.is_dir():
        raise UserError(f"{key}: {path.parent} is no folder; make it first")
    refuse_in_the_way([path], is_ours, key)
    _refuse_unwritable(path.parent, path, _LEAST_ROOM_BYTES, key)
    return path


def output_folder(out: Path | str, room_bytes: int = 0, key: str = "out") -> Path:
    """The absolute path of a folder that files can be added to; it need not be there yet, and is not made.

    Raises UserError when it is a file, cannot be made or written to, or the disk has not `room_bytes` free.
    """
    path = Path(out).expanduser().resolve()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        raise UserError(f"{key}: {there} is a file, where a folder is needed; choose another")
    _refuse_unwritable(there, path, max(room_bytes, _LEAST_ROOM_BYTES), key)
    return path


def new_folder(out: Path | str, key: str = "out") -> Path:
    """As `output_folder`, of one that is new or empty. Raises UserError when it holds anything."""
    path = output_folder(out, key=key)
    if path.exists() and (held := next(path.iterdir(), None)):
        raise UserError(f"{key}: {path} is not empty (it holds {held.name}); nothing is overwritten, give a new folder")
    return path


def refuse_in_the_way(paths: list[Path], is_ours: IsOurs, key: str = "out") -> None:
    """Raise UserError naming the first of the files that is there and not ours."""
    for path in paths:
        if path.is_dir() or (os.path.lexists(path) and not is_ours(path)):
            raise UserError(
                f"{key}: {path} is there and no earlier run of this command wrote it; it is not overwritten, "
                "choose another name"
            )


@contextmanager
def writing(out: Path, key: str = "out") -> Iterator[None]:
    """What the operating system says against writing `out` becomes one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{key}: {out} cannot be written ({error.strerror or error})") from None


def private_folder(path: Path) -> Path:
    """The folder, made where it is missing so that only its owner may enter it; one that is there stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def open_to_others(folder: Path, files: tuple[str, ...]) -> str | None:
    """A loud line where other users of the machine may enter the folder, or read one of the files in it, and what to
    run; None where all is closed to them."""
    paths = [path for path in (folder, *(folder / name for name in files)) if path.exists()]
    found = next((path for path in paths if path.stat().st_mode & 0o077), None)
    if found is None:
        return None
    mode = found.stat().st_mode & 0o777
    return f"PATIENTS' DATA ARE OPEN TO OTHERS: {found} has mode {mode:04o}; run: chmod -R go-rwx {folder}"


def _refuse_unwritable(folder: Path, out: Path, room_bytes: int, key: str) -> None:
    with writing(out, key), tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    if free < room_bytes:
        raise UserError(
            f"{key}: {out} needs up to {_size(room_bytes)} and its disk has {_size(free)} free; make room or choose "
            "another disk"
        )


def _size(amount: int) -> str:
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"
