"""What lies under a folder of patients: the one walk of every reader.

Links to folders are followed, as clusters and data managers lay data sets out. What operating systems leave about is
nobody's: macOS writes `._NAME` beside every file of a share and `__MACOSX` into every zip file, network drives and
Windows keep folders of their own.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cmrfed.config import UserError

NIFTI_ENDINGS = (".nii.gz", ".nii")
_LITTER = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "Thumbs.db"}


def children(folder: Path) -> list[Path]:
    """Files and folders right under a folder, in order of name; no link that leads back to the folder or above it.

    Raises UserError when it cannot be listed.
    """
    try:
        found = sorted(path for path in folder.iterdir() if not _is_litter(path.name))
    except OSError as error:
        raise _cannot_be_listed(folder, error) from None
    return [path for path in found if not _is_way_back(folder, path.name)]


def subfolders(folder: Path) -> list[Path]:
    """Folders, and links to folders, right under a folder in order of name. Raises UserError as `children` does."""
    return [path for path in children(folder) if path.is_dir()]


def folders_under(root: Path) -> Iterator[Path]:
    """Every folder below `root`, from the outside in; see `files_under`."""
    return (folder for folder, _ in _walk(root) if folder != root)


def files_under(root: Path) -> Iterator[Path]:
    """Every file anywhere below `root`, folder by folder in order of name.

    A folder that several links lead to is entered once, so that loops end and nobody is found twice by a link. Raises
    UserError naming a folder that cannot be listed.
    """
    return (folder / name for folder, names in _walk(root) for name in names if (folder / name).is_file())


def volumes_under(root: Path) -> Iterator[tuple[str, Path]]:
    """(name without its ending, file) of every NIfTI file below `root`, compressed or not.

    A volume that lies there both ways is given once, compressed, as `volume_path` has it.
    """
    return (volume for folder, names in _walk(root) for volume in _volumes(folder, names))


def volumes_in(folder: Path) -> list[tuple[str, Path]]:
    """Those right under a folder alone. Raises UserError when it cannot be listed."""
    return list(_volumes(folder, [path.name for path in children(folder)]))


def volume_path(folder: Path, stem: str) -> Path | None:
    """The NIfTI file of that name, compressed or not; None where there is none."""
    return next((path for ending in NIFTI_ENDINGS if (path := folder / f"{stem}{ending}").is_file()), None)


def nifti_stem(name: str) -> str | None:
    """A NIfTI file's name without its ending, None for any other file's."""
    return next((name.removesuffix(ending) for ending in NIFTI_ENDINGS if name.endswith(ending)), None)


def _volumes(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    stems = {stem for name in names if (stem := nifti_stem(name)) is not None}
    return ((stem, path) for stem in sorted(stems) if (path := volume_path(folder, stem)))


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from `root` on with the names of its files."""

    def refuse(error: OSError) -> None:
        raise _cannot_be_listed(Path(error.filename), error)

    entered: set[tuple[int, int]] = set()
    for folder, inside, files in os.walk(root, followlinks=True, onerror=refuse):
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in entered:
            inside.clear()
            continue
        entered.add(identity)
        inside[:] = sorted(name for name in inside if not (_is_litter(name) or _is_way_back(Path(folder), name)))
        yield Path(folder), sorted(name for name in files if not _is_litter(name))


def _is_way_back(folder: Path, name: str) -> bool:
    """Whether it is a link to the folder or above it: what lies up there is not below."""
    return (folder / name).is_symlink() and _leads_back(folder / name, folder)


def _leads_back(link: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(link))


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in _LITTER


def _cannot_be_listed(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be listed ({error.strerror}); check the folder's permissions")
