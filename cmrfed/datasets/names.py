"""Patients' names: one form for one name, and doubts about names that may be of one person.

A person under two names counts as two patients, and is promised the privacy of neither. So names that differ only in
what people and programs write in two ways are doubted before anything is trained. Nobody but the hospital can tell
whether they are one person, so nothing is joined.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

_MISSING = {"nan", "none", "null", "na", "n/a", "#n/a", "nat", "?", "-", "unknown", "missing"}
_SHORTENED = re.compile(r"\d+([.,]\d+)?e[+-]\d+")


def normal_form(text: str) -> str:
    """The text in Unicode's form NFC: macOS writes an accent as a letter of its own, everybody else does not."""
    return unicodedata.normalize("NFC", text)


def doubtful_names(patients: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A line on each group of names that may be of one person, and on each that is probably no name.

    patients: (data set, name with the data set's before it); only names of one data set are compared. Doubtful are
    those that differ in nothing but case, leading zeros, blanks, kinds of dash and ways to write a number.
    """
    alike: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for dataset, patient in patients:
        name = patient.removeprefix(f"{dataset}-")
        alike[dataset, _bare(name)].add(name)
    for (dataset, bare), spellings in sorted(alike.items()):
        written = " and ".join(map(repr, sorted(spellings)))
        if len(spellings) > 1:
            yield f"{dataset}: {written} may be one patient, who would count as {len(spellings)}; if so, give one name"
        if bare in _MISSING:
            yield f"{dataset}: {written} is what programs write for a missing name; give every patient a name"
        elif any(map(_SHORTENED.fullmatch, map(str.casefold, spellings))):
            yield f"{dataset}: {written} is a number that a spreadsheet shortened; give the whole name"


def _bare(name: str) -> str:
    """What is left of a name when all that may be accident is taken out."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    seen = "".join(letter for letter in letters if not letter.isspace() and unicodedata.category(letter) != "Cf")
    if _SHORTENED.fullmatch(seen):
        seen = f"{float(seen.replace(',', '.')):.0f}"
    dashed = re.sub(r"[_\u2010-\u2015\u2212]", "-", seen)
    return re.sub(r"\d+", lambda digits: digits[0].lstrip("0") or "0", re.sub(r"(?<=\d)[.,]0*$", "", dashed))
