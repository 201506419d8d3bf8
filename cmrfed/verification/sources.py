"""Which data sets a folder holds."""

from pathlib import Path

from cmrfed.config import DataConfig, UserError
from cmrfed.datasets import DATASETS, recognise
from cmrfed.volumes.trees import subfolders


def find_sources(data: DataConfig) -> dict[str, Path]:
    """Data set's name -> absolute folder: as configured or, where `data.sources` is empty, by the layout of `data.root`
    or else of the folders in it.

    Raises UserError when the folder is missing, when no layout or more than one fits, or when two fit the same.
    """
    root = Path(data.root).expanduser().resolve()
    if data.sources:
        return {name: (root / folder).resolve() for name, folder in data.sources.items()}
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the one that holds the volumes")
    names = recognise(root)
    if len(names) == 1:
        return {names[0]: root}
    found = _in_folders_of(root)
    if names and not found:
        raise _could_be(names, root)
    if not found:
        raise UserError(f"{root}: neither it nor a folder in it is laid out like any of {', '.join(DATASETS)}")
    return found


def _in_folders_of(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in subfolders(root):
        names = recognise(folder)
        if len(names) > 1:
            raise _could_be(names, folder)
        for name in names:
            if name in found:
                raise UserError(f"{folder}: has the layout of {name}, and so has {found[name]}; verify one at a time")
            found[name] = folder
    return found


def _could_be(names: list[str], folder: Path) -> UserError:
    return UserError(
        f"{folder}: could be {' or '.join(names)}; say which: data={names[0]}, with the folder as data.root"
    )
