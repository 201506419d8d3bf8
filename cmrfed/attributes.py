"""A request in words as conditions: "hypertrophic heart of a woman of 60 years, end systole, Philips, 3 T".

A small vocabulary, and no language model: every word must be known or be one of those that join words, so that nothing
that was asked for is passed over in silence.

>>> conditions_of("dilated heart of a man, 45 years, ejection fraction 25 %")
{'pathology': 'DCM', 'sex': 'M', 'age': 45.0, 'ejection_fraction': 25.0}
>>> conditions_of("Siemens 1.5 T, end diastole")
{'vendor': 'Siemens', 'field_strength': 1.5, 'phase': 'ED'}
"""

import re
from typing import Any

from cmrfed.conditions import CONDITIONS, UNKNOWN, Categorical, Scalar
from cmrfed.config import UserError
from cmrfed.keys import nearest

_SAID: dict[str, tuple[str, str]] = {
    "healthy": ("pathology", "NOR"),
    "normal": ("pathology", "NOR"),
    "dilated": ("pathology", "DCM"),
    "hypertrophic": ("pathology", "HCM"),
    "infarction": ("pathology", "MINF"),
    "infarcted": ("pathology", "MINF"),
    "hypertensive": ("pathology", "HHD"),
    "ischaemic": ("pathology", "IHD"),
    "ischemic": ("pathology", "IHD"),
    "noncompaction": ("pathology", "LVNC"),
    "arrhythmogenic": ("pathology", "ARR"),
    "fallot": ("pathology", "FALL"),
    "tetralogy": ("pathology", "FALL"),
    "tof": ("pathology", "FALL"),
    "asd": ("pathology", "CIA"),
    "woman": ("sex", "F"),
    "female": ("sex", "F"),
    "man": ("sex", "M"),
    "male": ("sex", "M"),
    "diastole": ("phase", "ED"),
    "diastolic": ("phase", "ED"),
    "systole": ("phase", "ES"),
    "systolic": ("phase", "ES"),
    "cine": ("sequence", "bSSFP"),
}
"""Word -> condition and value; the values' own names are words too."""
_NUMBER = r"(\d+(?:\.\d+)?)"
_MEASURED: dict[str, str] = {
    rf"{_NUMBER} ?(?:t|tesla)\b": "field_strength",
    rf"{_NUMBER} ?-?years?(?: old)?\b": "age",
    rf"(?:aged?|of) {_NUMBER}\b(?! ?(?:%|ml|mm|t\b))": "age",
    rf"bmi (?:of )?{_NUMBER}": "bmi",
    rf"(?:edv|end-?diastolic volume) (?:of )?{_NUMBER}(?: ?ml)?": "edv",
    rf"(?:esv|end-?systolic volume) (?:of )?{_NUMBER}(?: ?ml)?": "esv",
    rf"(?:ef|ejection fraction) (?:of )?{_NUMBER}(?: ?%)?": "ejection_fraction",
    rf"wall(?: thickness)? (?:of )?{_NUMBER}(?: ?mm)?": "wall_thickness",
    rf"severity (?:of )?{_NUMBER}": "severity",
}
"""What a number after or before such words is; tried in this order, so that a volume at a phase is no phase."""
_JOINING = frozenset((
    "a", "an", "and", "at", "by", "cardiac", "cardiomyopathy", "end", "field", "from", "heart", "hearts", "image", "in",
    "mri", "myocardial", "of", "old", "on", "patient", "scanner", "shown", "slice", "the", "with",
))  # fmt: skip


def conditions_of(text: str) -> dict[str, Any]:
    """What a request says, by condition, in the order in which it says it.

    Raises UserError naming the first word that is not understood, a number out of its range, or a condition that is
    given twice.
    """
    found: list[tuple[int, str, Any]] = []
    rest = text.lower()
    for pattern, name in _MEASURED.items():
        for match in re.finditer(pattern, rest):
            found.append((match.start(), name, _number(name, match[1])))
            rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]
    words = _vocabulary()
    for match in re.finditer(r"[^\s,;.()]+", rest):
        word = match[0].removeprefix("end-")
        if word in words:
            found.append((match.start(), *words[word]))
        elif word not in _JOINING:
            _refuse(text[match.start() : match.end()], words)
    told: dict[str, Any] = {}
    for _, name, value in sorted(found, key=lambda one: one[0]):
        if told.setdefault(name, value) != value:
            raise UserError(f"text: says {name} twice, {told[name]} and {value}; say it once")
    return told


def _vocabulary() -> dict[str, tuple[str, str]]:
    named = {
        value.lower(): (name, value)
        for name, one in CONDITIONS.items()
        if isinstance(one, Categorical)
        for value in one.values
        if value != UNKNOWN and len(value) > 1  # not the letters of the sexes
    }
    return named | _SAID


def _number(name: str, said: str) -> float:
    condition, number = CONDITIONS[name], float(said)
    assert isinstance(condition, Scalar)
    if not condition.low <= number <= condition.high:
        raise UserError(
            f"text: {name} is {condition.low:g} to {condition.high:g} {condition.unit}, found {number:g}; correct it"
        )
    return number


def _refuse(word: str, words: dict[str, tuple[str, str]]) -> None:
    likely = nearest(word.lower(), words)[:1]
    hint = f"did you mean {likely[0]}?" if likely else f"words are {', '.join(sorted(words))}, and numbers with units"
    raise UserError(f"text: {word!r} is not understood; {hint}")
