"""Who a data set's patients are, as keys that recognise them again in another data set, and nothing more.

A patient is known by the pseudonym alone, without the name of the data set that it was read from and in one Unicode
form, and linked by it to every other key of that patient:

- each volume as it was read, before any preparation: another reader, grid or mask changes nothing;
- the prepared images and masks;
- the name with the data set's in front, by which earlier ledgers know the patient.

Two patients of different cohorts are one person when any key is the same, and so on along any chain of cohorts: renamed
in one, prepared at another resolution in the next, a person is still the same. A pseudonym that two people share links
them as well, which overstates what either has spent and never understates it. Pseudonyms are easily guessed from their
hashes: keys are patient data, and stay where the patients' images are.
"""

import hashlib
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cmrfed.config import UserError
from cmrfed.slices import Patient, Slices
from cmrfed.slices import fingerprint as content_fingerprint

_KEY = hashlib.sha256().digest_size
_MEMBER = 2 * _KEY


@dataclass(frozen=True)
class Cohort:
    """A data set's patients; possibly none, where nobody's budget allows a release.

    members: pairs of keys, 64 bytes each, sorted and joined: a patient's pseudonym and another key of that patient.
    """

    members: bytes

    def __post_init__(self) -> None:
        if len(self.members) % _MEMBER:
            raise UserError(f"a cohort is members of {_MEMBER} bytes, found {len(self.members)} bytes")

    @classmethod
    def of(cls, slices: Slices) -> "Cohort":
        """The patients of these slices; the order of patients and of slices does not matter."""
        pairs = {
            pseudonym_key(record) + key
            for number, record in enumerate(slices.records)
            for key in _other_keys(slices, number, record)
        }
        return cls(b"".join(sorted(pairs)))

    @property
    def number_of_patients(self) -> int:
        return len(self.pseudonyms)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the members: a stored list of members verifies itself against it."""
        return hashlib.sha256(self.members).hexdigest()

    def holds(self, record: Patient) -> bool:
        """Whether a patient of that name is among them."""
        return pseudonym_key(record) in self.pseudonyms

    def only(self, pseudonyms: Collection[bytes]) -> "Cohort":
        """Those of the patients with these keys."""
        return Cohort(b"".join(one + other for one, other in self._pairs() if one in pseudonyms))

    @property
    def pseudonyms(self) -> frozenset[bytes]:
        """The patients, by the keys of their pseudonyms."""
        return frozenset(self.first_keys())

    def first_keys(self) -> list[bytes]:
        """Of each member the first key: that of the patient's pseudonym."""
        return [one for one, _ in self._pairs()]

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, len(self.members), _MEMBER):
            yield self.members[start : start + _KEY], self.members[start + _KEY : start + _MEMBER]

    @property
    def keys(self) -> np.ndarray:
        """(member, 2): the keys as fixed-length byte strings."""
        return np.frombuffer(self.members, dtype=f"V{_KEY}").reshape(-1, 2)


def pseudonym_key(record: Patient) -> bytes:
    """SHA-256 of the bare pseudonym in Unicode's composed form (NFC)."""
    bare = record.patient.removeprefix(f"{record.dataset}-")
    return _digest(unicodedata.normalize("NFC", bare))


def people(cohorts: Sequence[Cohort]) -> list[Int[np.ndarray, " member"]]:
    """For each cohort the number of the person that each of its members belongs to, the same over all cohorts.

    People are the connected components of the graph whose nodes are keys and whose edges are members.
    """
    nodes, ends = np.unique(np.concatenate([cohort.keys for cohort in cohorts]), return_inverse=True)
    one, other = ends.reshape(-1, 2).T
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    bounds = np.cumsum([len(cohort.keys) for cohort in cohorts])
    return np.split(component[one], bounds[:-1])


def twins(slices: Slices) -> list[tuple[str, str]]:
    """Pairs of names under which one person is there twice, by pseudonym or by images: that person would be clipped as
    two, and spend twice what is reported. For the hospital's own eyes."""
    first: dict[int, str] = {}
    found = []
    for name, person in _persons(slices):
        if first.setdefault(person, name) != name:
            found.append((first[person], name))
    return found


def individuals(slices: Slices) -> Slices:
    """The slices with each person once, under the first of the names: whatever file was put here, one person is never
    clipped as two."""
    double = {name for _, name in twins(slices)}
    return slices.subset(set(slices.patient_names) - double) if double else slices


def _persons(slices: Slices) -> list[tuple[str, int]]:
    """Name and number of the person of each patient, in the order of names."""
    cohort = Cohort.of(slices)
    person = dict(zip(cohort.first_keys(), people([cohort])[0].tolist(), strict=True))
    return sorted((record.patient, person[pseudonym_key(record)]) for record in slices.records)


def _other_keys(slices: Slices, number: int, record: Patient) -> Iterator[bytes]:
    yield _digest(record.patient)
    yield bytes.fromhex(content_fingerprint(slices.take(slices.of_patient(number))))
    yield from map(bytes.fromhex, record.voxels)


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
