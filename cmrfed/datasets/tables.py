"""What every reader needs: tables as spreadsheets write them, files named by a table, and faults kept to a patient."""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from cmrfed.config import UserError, not_readable
from cmrfed.datasets.names import normal_form
from cmrfed.volumes import Entry
from cmrfed.volumes.trees import children

MAX_TABLE_BYTES = 16 * 2**20
"""Largest table that is read: a hundred thousand patients."""
SEPARATORS = ",;\t|"
"""Between cells: commas, semicolons where the decimal sign is a comma, and what else programs choose."""

_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t|]*[\r\n]+', re.IGNORECASE)
_NUMBER_AS_CODE = re.compile(r"^([0-9]+)[.,]0+$")
_WHOLE_NUMBER = re.compile(r"([0-9]{1,5})(?:[.,]0*)?")

_Patient = TypeVar("_Patient")


class NotOnDisk(UserError):
    """A patient of a table of whom nothing is there. Verification calls it a problem; whoever goes on does so without
    the patient and says so, since data sets are handed out in parts."""


def each_patient(
    read: Callable[[_Patient], Iterable[Entry]], patients: Iterable[_Patient]
) -> Iterator[Entry | UserError]:
    """The entries of every patient, or what is wrong with that one, so that a fault does not hide the next."""
    for patient in patients:
        try:
            found = list(read(patient))
        except UserError as error:
            yield error
        else:
            yield from found


def not_on_disk(table_path: Path, named: Iterable[str], there: Collection[str]) -> Iterator[UserError]:
    """A fault for each patient that the table names and no file or folder is of."""
    for name in named:
        if name not in there:
            yield NotOnDisk(
                f"{table_path}: patient {name!r:.80} has a row and no files on disk; restore them or remove the row"
            )


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table by column name, stripped, in Unicode's normal form; rows that hold nothing are skipped.

    Cells stand between whichever of `SEPARATORS` shows the columns that are needed, or that a first line "sep=;" names.
    Spreadsheets begin the file with a byte-order mark, leave columns unnamed and pad the end with rows of commas.
    Raises UserError when the file cannot be read or one of `columns` is missing.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise UserError(f"{path}: is larger than {MAX_TABLE_BYTES // 2**20} MiB; is this the information table?")
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *lines = _cells(normal_form(file.read()), columns) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        otherwise = f"{path}: cannot be read as CSV ({error}); save it as UTF-8 with commas"
        raise not_readable(path, error, otherwise) from None
    missing = [column for column in columns if column not in header]
    if missing:
        found = ", ".join(name for name in header if name) or "nothing"
        raise UserError(f"{path}: has no column {missing[0]!r}, found {found!r:.200}; needed are {', '.join(columns)}")
    rows = [{name: cell for name, cell in zip_longest(header, line, fillvalue="") if name} for line in lines]
    return [row for row in rows if any(row.values())]


def _cells(text: str, columns: Sequence[str]) -> list[list[str]]:
    """The table's lines, the header first, separated so that it shows most of `columns`."""
    if named := _NAMED_SEPARATOR.match(text):
        return list(_split(text[named.end() :], named[1]))
    shown = {separator: set(columns).intersection(next(_split(text, separator), ())) for separator in SEPARATORS}
    return list(_split(text, max(SEPARATORS, key=lambda separator: len(shown[separator]))))


def _split(text: str, separator: str) -> Iterator[list[str]]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return ([cell.strip() for cell in line] for line in lines if line)


def read_table(path: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Rows by the first of `columns`, which names a patient or file once. Raises UserError as `read_rows` does.

    A number that a program wrote as 1.0 is 1.
    """
    rows = read_rows(path, columns)
    table = {_NUMBER_AS_CODE.sub(r"\1", row[columns[0]]): row for row in rows}
    if len(table) < len(rows):
        raise UserError(f"{path}: {len(rows)} rows name {len(table)} patients; give each {columns[0]} once")
    return table


def file_inside(folder: Path, name: str, where: object) -> Path:
    """The file or folder that a table names, which must lie in `folder`: a table never opens anything else.

    Accents count as the same letters however either side writes them. Raises UserError, naming `where`, when it is
    missing or when the name leads out of the folder.
    """
    try:
        path = _as_on_disk(folder, name)
        inside = path.resolve().is_relative_to(folder.resolve()) and path.resolve() != folder.resolve()
        exists = inside and path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # null bytes, names too long, loops of links
        raise UserError(f"{where}: file {name!r:.80} cannot be opened ({type(error).__name__})") from None
    if not inside:
        raise UserError(f"{where}: file {name!r:.80} lies outside {folder}; name files inside it")
    if not exists:
        raise UserError(f"{where}: file {name!r:.80} is not in {folder}; correct the name or restore the file")
    return path


def _as_on_disk(folder: Path, name: str) -> Path:
    """The path with its letters as the disk has them, where only the way that accents are written differs."""
    path = folder / name
    if path.exists() or Path(name).is_absolute() or ".." in Path(name).parts:
        return path
    path = folder
    for part in Path(name).parts:
        alike = [child for child in children(path) if normal_form(child.name) == part] if path.is_dir() else []
        path = alike[0] if alike else path / part
    return path


def frame_index(text: str, phase: str, where: object, first: int = 0) -> int:
    """A frame counted from `first`; 9.0 is 9. Raises UserError when the text is not one."""
    index = _whole_number(text)
    if index is None or index < first:
        raise UserError(f"{where}: {phase} is {text!r:.40}; expected a frame number counted from {first}")
    return index


def _whole_number(text: str) -> int | None:
    """A number of up to five digits, which programs that know no gaps in whole numbers write with decimals."""
    match = _WHOLE_NUMBER.fullmatch(text)
    return int(match[1]) if match else None


def person(sex: str = "", age: str = "", height_cm: str = "", weight_kg: str = "") -> dict[str, object]:
    """Conditions that a table's cells tell of a person: "sex" (F or M), "age" in years, "bmi" in kg/m2. What is empty,
    or no number, is not known."""
    found: dict[str, object] = {"sex": sex.strip()[:1].upper(), "age": _number(age)}
    height_m, weight = (_number(height_cm) or 0.0) / 100, _number(weight_kg)
    if height_m > 0 and weight:
        found["bmi"] = weight / height_m**2
    return {name: value for name, value in found.items() if value not in (None, "")}


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
