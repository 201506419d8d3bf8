"""Which of a site's patients are trained on, and which are kept out of every training for the site's audits.

An audit compares members with patients who never were: one who was once on the wrong side spoils it for good. So sides
are drawn once, kept by name in the home's `division.json`, and never drawn again; patients who come later are divided
alike. The division is on disk before any slices are, and whoever trains asks it (`Home.slices`): whatever is
interrupted in between, and whatever is put into the files of slices, nobody who is held out is trained on.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from pydantic import Field

from cmrfed.config import Stage, UserError, read_stage_json
from cmrfed.preparation import Progress, Source
from cmrfed.privacy import twins
from cmrfed.slices import Record, Slices, draw_patients
from cmrfed.updates import write_durably

TRAINED_ON, HELD_OUT = "slices.safetensors", "held_out.safetensors"
_DIVISION = "division.json"
_SEED = 0
"""The same patients are divided alike where a home is lost before it trained, and prepared again."""


class Division(Stage):
    """Everybody who was ever prepared here, by name, so that who is away for a while comes back to the same side.

    hold_out: the share of patients that is held out.
    """

    hold_out: float = Field(gt=0, lt=1)
    trained_on: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def extended(self, records: Iterable[Record]) -> "Division":
        """With new patients divided too, drawn within vendor, centre and pathology, so that of everybody `hold_out` is
        held out as nearly as can be. Raises UserError when one side would have nobody."""
        known = {*self.trained_on, *self.held_out}
        new = [record for record in records if record.patient not in known]
        names = {record.patient for record in new}
        everybody = len(known) + len(names)
        if everybody < 2:
            raise UserError(f"hold_out: cannot keep somebody out of {everybody} patients and train on others")
        seats = min(max(1, round(self.hold_out * everybody)), everybody - 1) - len(self.held_out)
        drawn = draw_patients(new, min(max(0, seats), len(names)), _SEED) if names else []
        trained_on = (*self.trained_on, *sorted(names.difference(drawn)))
        return Division(hold_out=self.hold_out, trained_on=trained_on, held_out=(*self.held_out, *drawn))


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
    bar: Callable[[str], AbstractContextManager[Progress]],
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
    here = {entry.patient for entry in source.entries}
    for side, what in ((division.trained_on, "to train on"), (division.held_out, "held out")):
        if here.isdisjoint(side):
            raise UserError(f"hold_out: of patients prepared in {folder} before, nobody who is {what} is in these data")
    if division != before:
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / _DIVISION, division.model_dump_json(), mode=0o600)
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
