"""Which of a site's patients are trained on, and which are kept out of every training for the site's membership audits.

A membership audit compares members with patients who never were: one who was once on the wrong side spoils it for
good. So sides are drawn once, kept by name in the home's `division.json`, and never drawn again. The division is on
disk before any slices are, and whoever trains asks it (`Home.slices`): whatever is interrupted in between, and whatever
is put into the files of slices, nobody who is held out is trained on.

Who is trained on decides what is released, and one patient must not decide it for another. So each patient's side is a
keyed hash of that patient's name alone (`cmrfed.slices.is_drawn`), under a secret key that is the home's for good:
adding or removing anybody moves nobody else, and nobody outside can tell, or choose by a pseudonym, who is held out. It
costs balance. Of n patients n h +- sqrt(n h (1 - h)) are held out for a share h, and within vendors or pathologies the
shares differ as chance has it. Of 150 patients in five pathologies a fifth is 30 +- 4.9, and of the 30 of a pathology 2
to 11 are held out (95 of 100 times; `tests/site/test_division.py` measures both), where a draw within pathologies takes
6. But such a draw moved 7.4 others across the line, on average, with every one of 150 who came or went.
"""

import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import Field

from cmrfed.config import Stage, UserError, read_stage_json
from cmrfed.core import atomic
from cmrfed.core.progress import ProgressBar
from cmrfed.preparation import Source
from cmrfed.privacy import twins
from cmrfed.slices import Record, Slices, is_drawn

TRAINED_ON, HELD_OUT = "slices.safetensors", "held_out.safetensors"
_DIVISION = "division.json"


class Division(Stage):
    """Everybody who was ever prepared here, by name, so that who is away for a while comes back to the same side.

    hold_out: the share of patients that is held out, each drawn alone.
    key: what sides are drawn with, hex; a secret. None in files from before there was one, until somebody new comes.
    """

    hold_out: float = Field(gt=0, lt=1)
    key: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", repr=False)
    trained_on: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def extended(self, records: Iterable[Record]) -> "Division":
        """With new patients divided too, each alone. Raises UserError where there are fewer than two in all."""
        known = {*self.trained_on, *self.held_out}
        new = sorted({record.patient for record in records} - known)
        if len(known) + len(new) < 2:
            raise UserError(
                f"hold_out: cannot keep somebody out of {len(known) + len(new)} patients and train on others"
            )
        if not new:
            return self
        key = self.key or secrets.token_hex(32)
        drawn = [patient for patient in new if is_drawn(patient, self.hold_out, bytes.fromhex(key))]
        trained_on = (*self.trained_on, *sorted(set(new).difference(drawn)))
        return Division(hold_out=self.hold_out, key=key, trained_on=trained_on, held_out=(*self.held_out, *drawn))


def read_division(folder: Path) -> Division | None:
    """A home's division; None where nobody was ever held out.

    Raises UserError where it is damaged, or is gone though somebody was held out.
    """
    path = folder / _DIVISION
    if path.exists():
        return read_stage_json(Division, path)
    if (folder / HELD_OUT).exists():
        raise UserError(f"{path}: is missing beside {HELD_OUT}, so that nobody knows who is held out; restore it")
    return None


def prepare_sides(
    folder: Path,
    source: Source,
    hold_out: float,
    bar: ProgressBar,
    refuse_few: Callable[[int], None] = lambda patients: None,
) -> tuple[Slices, Slices | None]:
    """(Slices to train on, slices held out), each in its file of the home; nobody is held out where `hold_out` is 0.

    `refuse_few` raises where so many patients are too few to take part: before any slices are there, since a server
    that was told so would learn their number. Raises UserError where the share is not the one that was drawn before, or
    where it is too late to draw.
    """
    division = _divide(folder, source, hold_out)
    refuse_few(len({entry.patient for entry in source.entries}.difference(division.held_out if division else ())))
    kept = None
    if division:
        with bar("reading and preparing cases that are held out") as progress:
            kept = source.only(division.held_out).slices(folder / HELD_OUT, progress)
        source = source.only(division.trained_on)
    with bar("reading and preparing cases") as progress:
        return source.slices(folder / TRAINED_ON, progress), kept


def refuse_twins(slices: Slices, where: str) -> None:
    """Raise UserError where one person is there under two names, by pseudonym or by images, for the hospital's own
    eyes: that person would be counted as two, and spend twice what is reported."""
    if found := twins(slices):
        one, other = found[0]
        raise UserError(
            f"{where}: {one} and {other} have one pseudonym or the very same images ({len(found)} such pairs); give "
            "all volumes of a person one pseudonym, and different people different ones"
        )


def _divide(folder: Path, source: Source, hold_out: float) -> Division | None:
    """Everybody's side, written down before it is acted on."""
    before = read_division(folder)
    _refuse_another_share(folder, before, hold_out)
    if not hold_out:
        return None
    division = (before or Division(hold_out=hold_out)).extended(source.entries)
    if division != before:
        # Also where it is refused below: a draw that were made again until it pleased would hang on everybody.
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_text(folder / _DIVISION, division.model_dump_json(), mode=atomic.PRIVATE)
    here = {entry.patient for entry in source.entries}
    for side, what in ((division.trained_on, "to train on"), (division.held_out, "held out")):
        if here.isdisjoint(side):
            raise UserError(
                f"hold_out: of the {len(here)} patients in these data nobody is {what}; every patient's side is drawn "
                f"once, alone, and stays ({folder / _DIVISION}): prepare with more patients"
            )
    return division


def _refuse_another_share(folder: Path, before: Division | None, hold_out: float) -> None:
    if before and hold_out != before.hold_out:
        raise UserError(
            f"hold_out: {before.hold_out} of the patients in {folder} are held out for good, found {hold_out}; "
            f"give hold_out={before.hold_out}"
        )
    if hold_out and not before and (folder / "plans").exists():
        raise UserError(
            f"hold_out: the patients in {folder} took part in a run already, which is too late; give hold_out=0, or "
            "prepare another home with the same ledger (site.yaml)"
        )
