"""What every reader needs: tables as spreadsheets write them, files named by a table, and faults kept to a patient."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from cmrfed.config import UserError
from cmrfed.volumes import Entry

MAX_TABLE_BYTES = 16 * 2**20
"""Largest table that is read: a hundred thousand patients."""

Patient = TypeVar("Patient")


def each_patient(
    read: Callable[[Patient], Iterable[Entry]], patients: Iterable[Patient]
) -> Iterator[Entry | UserError]:
    """The entries of every patient, or what is wrong with that one, so that a fault does not hide the next."""
    for patient in patients:
        try:
            found = list(read(patient))
        except UserError as error:
            yield error
        else:
            yield from found


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV by column name, stripped; rows that hold nothing are skipped.

    Spreadsheets begin the file with a byte-order mark, leave columns unnamed and pad the end with rows of commas.
    Raises UserError when the file cannot be read or one of `columns` is missing.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise UserError(f"{path}: is larger than {MAX_TABLE_BYTES // 2**20} MiB; is this the information table?")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows = [{key.strip(): value.strip() for key, value in row.items() if key} for row in reader]
            names = [name.strip() for name in reader.fieldnames or ()]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}); save it as UTF-8 with commas") from None
    missing = [column for column in columns if column not in names]
    if missing:
        raise UserError(f"{path}: has no column {missing[0]!r}; needed are {', '.join(columns)}")
    return [row for row in rows if any(row.values())]


def read_table(path: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Rows by the first of `columns`, which names a patient or file once. Raises UserError as `read_rows` does."""
    rows = read_rows(path, columns)
    table = {row[columns[0]]: row for row in rows}
    if len(table) < len(rows):
        raise UserError(f"{path}: {len(rows)} rows name {len(table)} patients; give each {columns[0]} once")
    return table


def file_inside(folder: Path, name: str, where: object) -> Path:
    """The file or folder that a table names, which must lie in `folder`: a table never opens anything else.

    Raises UserError, naming `where`, when it is missing or when the name leads out of the folder.
    """
    try:
        path = folder / name
        inside = path.resolve().is_relative_to(folder.resolve()) and path.resolve() != folder.resolve()
        exists = inside and path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # null bytes, names too long, loops of links
        raise UserError(f"{where}: file {name!r:.80} cannot be opened ({type(error).__name__})") from None
    if not inside:
        raise UserError(f"{where}: file {name!r:.80} lies outside {folder}; name files inside it")
    if not exists:
        raise UserError(f"{where}: file {name!r:.80} is not in {folder}; correct the name or restore the file")
    return path


def frame_index(text: str, phase: str, where: object) -> int:
    """A frame counted from 0. Raises UserError when the text is not one."""
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise UserError(f"{where}: {phase} is {text!r:.40}; expected a frame index counted from 0")
    return int(text)


def volume_path(folder: Path, stem: str) -> Path | None:
    """The NIfTI file of that name, compressed or not; None where there is none."""
    return next((path for suffix in (".nii.gz", ".nii") if (path := folder / f"{stem}{suffix}").is_file()), None)


def subfolders(root: Path) -> list[Path]:
    """Folders right under `root` in order of name, hidden ones left out."""
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{root}: cannot be listed ({error.strerror}); check the folder's permissions") from None
