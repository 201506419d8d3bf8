"""A hospital's volumes, read once and looked at before hours are spent on them: what there is, and what is wrong.

`sources` finds out which data sets a folder holds, `facts` reduces each stack to numbers, `problems` and `doubts` judge
these, and `sites` sums them up by site. No stack stays in memory once its facts are known, and facts hold no image.

A problem stops `cmrfed prepare` or breaks its promise that a patient counts once; a doubt is a warning that a person
should look, and says at what.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from cmrfed.config import UserError
from cmrfed.core.progress import Progress
from cmrfed.datasets import find_entries
from cmrfed.parallel import map_in_order
from cmrfed.verification.doubts import doubts_about
from cmrfed.verification.facts import StackFacts, read_facts, read_header
from cmrfed.verification.findings import Finding
from cmrfed.verification.problems import problems_among, reader_failed, unreadable
from cmrfed.verification.sites import SITE, SiteField, SiteSummary, summarise
from cmrfed.verification.sources import find_sources
from cmrfed.volumes import Entry

__all__ = [
    "SITE",
    "Finding",
    "Found",
    "SiteField",
    "SiteSummary",
    "StackFacts",
    "Verification",
    "find_patients",
    "find_sources",
    "verify",
]


@dataclass(frozen=True)
class Verification:
    """What was read (`stacks`), what stops it from being used (`problems`), and what a person should look at."""

    stacks: tuple[StackFacts, ...]
    problems: tuple[Finding, ...]

    @cached_property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(doubts_about(self.stacks))

    @property
    def number_of_patients(self) -> int:
        return len({stack.patient for stack in self.stacks})

    @property
    def number_of_slices(self) -> int:
        return sum(stack.shape[0] for stack in self.stacks)

    def sites(self, by: Sequence[SiteField] = SITE) -> list[SiteSummary]:
        """The stacks summed up by every combination of these fields, in alphabetical order."""
        return summarise(self.stacks, by)


class Found(NamedTuple):
    """Patients of all sources, each with the entries of all phases; and what is wrong with others."""

    patients: list[list[Entry]]
    errors: list[UserError]


def find_patients(sources: Mapping[str, Path]) -> Found:
    """Every patient of every source (data set's name -> its folder), labelled or not, before a voxel is read.

    Raises UserError when there is none.
    """
    entries: list[Entry] = []
    errors: list[UserError] = []
    for name, folder in sources.items():
        try:
            entries += find_entries(name, folder, unlabelled=True, problems=errors)
        except UserError as error:  # another source may still be whole
            errors.append(error)
    if not entries and len(sources) == len(errors) == 1:
        raise errors[0]
    return Found([list(own) for _, own in groupby(entries, key=lambda entry: entry.patient)], errors)


def verify(found: Found, progress: Progress | None = None, workers: int | None = None) -> Verification:
    """Read every stack of these patients once, in parallel over patients; what is wrong is listed, not raised.

    workers: as `map_in_order` has them. `progress` is told how many patients are done. Raises UserError when a process
    was killed.
    """
    patients = found.patients
    stacks: list[StackFacts] = []
    problems = [unreadable(error) for error in found.errors]
    if progress:
        progress(0, len(patients))
    for done, result in enumerate(map_in_order(_read_patient, patients, workers), start=1):
        stacks += result.stacks
        problems += result.problems
        if progress:
            progress(done, len(patients))
    return Verification(tuple(stacks), (*problems, *problems_among(stacks)))


@dataclass(frozen=True)
class _Patient:
    """What one patient's files gave."""

    stacks: tuple[StackFacts, ...]
    problems: tuple[Finding, ...]


def _read_patient(entries: list[Entry]) -> _Patient:
    """One case at a time: its voxels are gone before the next is read."""
    stacks: list[StackFacts] = []
    problems: list[Finding] = []
    header_of = cache(read_header)  # phases are frames of one file
    for entry in entries:
        try:
            header = header_of(entry.image_path, entry.mask_path, entry.long_axis is not None)
            stacks.append(read_facts(entry, header))
        except UserError as error:
            problems.append(unreadable(error))
        except Exception as error:  # one strange file must not hide what is wrong with the others
            problems.append(reader_failed(entry.image_path, error))
    return _Patient(tuple(stacks), tuple(dict.fromkeys(problems)))  # a file of two phases is damaged once
