"""What a reader says in a review of plausibility, as the page saves it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cmrfed.config import Stage, UserError, read_stage_json
from cmrfed.members import OneOf
from cmrfed.reader_study.plausibility import PlausibilityKey

SCALE = ("impossible", "unlikely", "doubtful", "likely", "as in a patient")
"""What 1 to 5 stand for."""
LONGEST_NOTE = 2000

ARTEFACTS = {
    "none": "nothing did",
    "wall": "the wall: broken, blurred, of odd thickness",
    "cavity": "papillary muscles, trabeculae, blood pool",
    "right_ventricle": "the right ventricle's shape",
    "base_apex": "the base or the apex",
    "between_slices": "slices do not fit together",
    "between_phases": "ED and ES do not fit together",
    "texture": "noise or texture",
    "contrast": "brightness or contrast",
    "surroundings": "chest wall, lung, liver, vessels",
    "other": "something else (say what in the note)",
}
"""What may give a synthetic heart away, in the words that a reader chooses from."""

Artefact = Annotated[str, OneOf(ARTEFACTS)]
Points = Annotated[int, Field(ge=1, le=5)]


class Rating(Stage):
    """Of one heart, after how long."""

    anatomy: Points
    motion: Points
    artefact: Artefact
    note: str = Field(max_length=LONGEST_NOTE)
    seconds: float = Field(ge=0, allow_inf_nan=False)


class GivenOrder(Stage):
    """One person's hearts by name, the least severe first, after how long."""

    order: tuple[str, ...]
    seconds: float = Field(ge=0, allow_inf_nan=False)


class PlausibilityAnswers(Stage):
    """A file that the page saved."""

    study: str
    reader: str = Field(max_length=80)
    ratings: dict[str, Rating]
    orderings: dict[str, GivenOrder]


def read_plausibility_answers(paths: list[Path], key: PlausibilityKey) -> list[PlausibilityAnswers]:
    """The readers' answers, a file each. Raises UserError, one line naming file and entry, when one is of another
    study, names what it does not show, or is of a reader who gave another file too."""
    found = [_read(path, key) for path in paths]
    first: dict[str, Path] = {}
    for path, answers in zip(paths, found, strict=True):
        if answers.reader and (other := first.setdefault(answers.reader, path)) is not path:
            raise UserError(f"{path}: is of reader {answers.reader!r}, as {other} is; give one file of each reader")
    return found


def _read(path: Path, key: PlausibilityKey) -> PlausibilityAnswers:
    answers = read_stage_json(PlausibilityAnswers, path)
    if answers.study != key.study:
        raise UserError(f"{path}: is of study {answers.study[:20]}, the key of {key.study}; give the key of that study")
    if unknown := answers.ratings.keys() - key.hearts.keys():
        raise UserError(f"{path}: ratings.{min(unknown)[:20]}: is no heart that the study shows for rating")
    if unknown := answers.orderings.keys() - key.orderings.keys():
        raise UserError(f"{path}: orderings.{min(unknown)[:20]}: is no task of the study")
    for name, given in answers.orderings.items():
        hearts = key.orderings[name].severities
        if sorted(given.order) != sorted(hearts):
            raise UserError(
                f"{path}: orderings.{name}: order must name each of its {len(hearts)} hearts once, found "
                f"{', '.join(one[:20] for one in given.order[:9])}"
            )
    if not answers.ratings and not answers.orderings:
        raise UserError(f"{path}: holds no answers; let the reader finish")
    return answers
