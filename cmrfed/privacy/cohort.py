"""Who a data set's patients are, as keys that recognise them again in another data set, and nothing more.

A patient has two keys: SHA-256 of the name, and SHA-256 of the images and masks. Two patients of different cohorts are
one person when either key is the same, and so on along any chain of cohorts: renamed in one, prepared at another
resolution in the next, a person is still the same. A name that two people share links them as well, which overstates
what either has spent and never understates it. Names are easily guessed from their hashes: keys are patient data, and
stay where the patients' images are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cmrfed.config import UserError
from cmrfed.slices import Slices
from cmrfed.slices import fingerprint as content_fingerprint

_KEY = hashlib.sha256().digest_size
_MEMBER = 2 * _KEY


@dataclass(frozen=True)
class Cohort:
    """A data set's patients. `members`: for each the name's key and the content's, 64 bytes, sorted and joined."""

    members: bytes

    def __post_init__(self) -> None:
        if not self.members or len(self.members) % _MEMBER:
            raise UserError(f"a cohort is one or more members of {_MEMBER} bytes, found {len(self.members)} bytes")

    @classmethod
    def of(cls, slices: Slices) -> "Cohort":
        """The patients of these slices; the order of patients and of slices does not matter.

        Raises UserError when there are no patients, or when two hold the very same images: one person would be counted
        as two, and would spend twice what is reported. Names nobody, since a server may read the message.
        """
        names = [hashlib.sha256(name.encode()).digest() for name in slices.patient_names]
        contents = [
            bytes.fromhex(content_fingerprint(slices.take(slices.of_patient(number))))
            for number in range(slices.number_of_patients)
        ]
        if not names:
            raise UserError("no patients were found in the slices; prepare the data again")
        if twice := len(contents) - len(set(contents)):
            raise UserError(
                f"the same images are there under another patient's name ({twice} times); keep one and prepare again"
            )
        return cls(b"".join(sorted(name + content for name, content in zip(names, contents, strict=True))))

    @property
    def number_of_patients(self) -> int:
        return len(self.members) // _MEMBER

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the members: a stored list of members verifies itself against it."""
        return hashlib.sha256(self.members).hexdigest()

    def holds(self, patient: str) -> bool:
        """Whether a patient of that name is among them."""
        return hashlib.sha256(patient.encode()).digest() in self._names

    @cached_property
    def _names(self) -> frozenset[bytes]:
        starts = range(0, len(self.members), _MEMBER)
        return frozenset(self.members[start : start + _KEY] for start in starts)

    @property
    def keys(self) -> np.ndarray:
        """(patient, 2): the keys as fixed-length byte strings."""
        return np.frombuffer(self.members, dtype=f"S{_KEY}").reshape(-1, 2)


def people(cohorts: Sequence[Cohort]) -> list[Int[np.ndarray, " patient"]]:
    """For each cohort the number of the person that each of its patients is, the same over all cohorts.

    People are the connected components of the graph whose nodes are keys and whose edges are patients.
    """
    keys, patients = np.unique(np.concatenate([cohort.keys for cohort in cohorts]), return_inverse=True)
    names, contents = patients.reshape(-1, 2).T
    graph = coo_array((np.ones(len(names)), (names, contents)), shape=(len(keys), len(keys)))
    _, component = connected_components(graph, directed=False)
    ends = np.cumsum([cohort.number_of_patients for cohort in cohorts])
    return np.split(component[names], ends[:-1])
