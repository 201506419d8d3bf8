"""Cases -> a site's slices, kept by patient; and the patient-level splits into sites, training and held-out patients.

Nothing here ever separates the slices of one patient: the patient is the privacy unit.
"""

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cmrfed.config import FederationConfig, UserError
from cmrfed.shapes import Condition, Image, Mask, phase_index, vendor_index
from cmrfed.volumes import Case, Entry

Field = Literal["dataset", "vendor", "centre", "pathology"]


@dataclass(frozen=True, order=True)
class Patient:
    """One patient without images: the name and what sites and strata are made from."""

    patient: str
    dataset: str
    vendor: str
    centre: str
    pathology: str


Record = Case | Entry | Patient
"""What a split reads of a patient: these name the patient, data set, vendor, centre and pathology alike."""


@dataclass(frozen=True, eq=False)
class Slices:
    """A site's slices, kept by patient.

    images: (slice, row, column), float32 in [-1, 1].
    masks: labels of `cmrfed.shapes.Label`, same shape.
    conditions: (vendor, phase) of each slice, by index into `VENDORS` and `PHASES`.
    patients: of each slice, the index of its patient in `records`.
    stacks: of each slice, which stack (one patient at one phase) it belongs to, counted from 0; inside a stack,
        slices are in the order in which they were acquired.
    spacing_mm: (slice, row, column) spacing of the stack each slice is from.
    records: the patients without their images.
    """

    images: Float32[np.ndarray, "slice row column"]
    masks: UInt8[np.ndarray, "slice row column"]
    conditions: Int64[np.ndarray, "slice 2"]
    patients: Int64[np.ndarray, " slice"]
    stacks: Int64[np.ndarray, " slice"]
    spacing_mm: Float64[np.ndarray, "slice 3"]
    records: tuple[Patient, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def number_of_patients(self) -> int:
        return len(self.records)

    @property
    def patient_names(self) -> tuple[str, ...]:
        return tuple(record.patient for record in self.records)

    @property
    def vendors(self) -> tuple[str, ...]:
        """Vendor of each patient."""
        return tuple(record.vendor for record in self.records)

    @cached_property
    def _of_patient(self) -> list[Int64[np.ndarray, " n"]]:
        by_patient = np.argsort(self.patients, kind="stable")
        ends = np.cumsum(np.bincount(self.patients, minlength=self.number_of_patients))
        return np.split(by_patient, ends[:-1])

    def of_patient(self, patient: int) -> Int64[np.ndarray, " n"]:
        """Indices of the slices of the patient at that index in `records`."""
        return self._of_patient[patient]

    def subset(self, patient_names: Iterable[str]) -> "Slices":
        """All slices of these patients, in this object's order. Raises KeyError naming a patient that is not here."""
        wanted = set(patient_names)
        if unknown := sorted(wanted.difference(self.patient_names)):
            raise KeyError(f"no slices of patient {unknown[0]}")
        kept = [index for index, name in enumerate(self.patient_names) if name in wanted]
        return self.take(np.flatnonzero(np.isin(self.patients, kept)))

    def take(self, rows: Int64[np.ndarray, " kept"]) -> "Slices":
        """These slices alone, in the order given; patients that lose all theirs are dropped."""
        kept = np.unique(self.patients[rows])
        return Slices(
            images=self.images[rows],
            masks=self.masks[rows],
            conditions=self.conditions[rows],
            patients=np.searchsorted(kept, self.patients[rows]).astype(np.int64),
            stacks=np.unique(self.stacks[rows], return_inverse=True)[1].astype(np.int64),
            spacing_mm=self.spacing_mm[rows],
            records=tuple(self.records[index] for index in kept),
        )

    def by_vendor(self) -> dict[str, "Slices"]:
        """The slices of each vendor's patients, vendors in alphabetical order."""
        return {
            vendor: self.subset(record.patient for record in self.records if record.vendor == vendor)
            for vendor in sorted(set(self.vendors))
        }

    def batch(
        self,
        indices: Sequence[int] | Int[np.ndarray, " batch"] | Int[torch.Tensor, " batch"],
        device: torch.device | str = "cpu",
    ) -> tuple[Image, Mask, Condition]:
        """Those slices as tensors: images (batch, 1, row, column) float32, masks and conditions int64."""
        chosen = np.asarray(indices, dtype=np.int64)
        images = torch.from_numpy(self.images[chosen])[:, None]
        masks = torch.from_numpy(self.masks[chosen]).long()
        conditions = torch.from_numpy(self.conditions[chosen])
        return images.to(device), masks.to(device), conditions.to(device)

    def save(self, path: Path) -> None:
        """Write as safetensors, the patients as JSON in its header. The file appears whole or not at all."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        header = json.dumps([vars(record) for record in self.records])
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        try:
            save_file(arrays, temporary, metadata={"records": header})
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "Slices":
        """Read what `save` wrote. Raises UserError when the file is missing, damaged or something else."""
        try:
            with safe_open(path, framework="numpy") as file:
                records = tuple(Patient(**values) for values in json.loads(file.metadata()["records"]))
                return cls(**{name: file.get_tensor(name) for name in _ARRAYS}, records=records)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: is not a file of slices ({reason}); prepare the data again") from None


_ARRAYS = ("images", "masks", "conditions", "patients", "stacks", "spacing_mm")


def collect(cases: Iterable[Case]) -> Slices:
    """All slices of prepared cases: patients in the order of their names, ED before ES, whatever order they come in.

    Raises UserError when there are no cases, when they are not on one grid, when a patient has a phase twice or two
    vendors, centres, pathologies or data sets.
    """
    ordered = sorted(cases, key=lambda case: (case.patient, case.phase))
    _check_together(ordered)
    records = _patients(ordered)
    index = {record.patient: number for number, record in enumerate(records)}
    depths = [len(case.image) for case in ordered]
    conditions = [(vendor_index(case.vendor), phase_index(case.phase)) for case in ordered]
    return Slices(
        images=np.concatenate([case.image for case in ordered]),
        masks=np.concatenate([case.mask for case in ordered]),
        conditions=np.repeat(np.array(conditions, dtype=np.int64), depths, axis=0),
        patients=np.repeat(np.array([index[case.patient] for case in ordered], dtype=np.int64), depths),
        stacks=np.repeat(np.arange(len(ordered), dtype=np.int64), depths),
        spacing_mm=np.repeat(np.array([case.spacing_mm for case in ordered], dtype=np.float64), depths, axis=0),
        records=tuple(records),
    )


def concatenate(parts: Sequence[Slices]) -> Slices:
    """Join the slices of several sites. Raises UserError when two of them hold the same patient."""
    records = [record for part in parts for record in part.records]
    names = [record.patient for record in records]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"patient {twice} is in two of the joined parts; a patient belongs to one site")
    first_patient = np.cumsum([0, *(part.number_of_patients for part in parts)])
    first_stack = np.cumsum([0, *(part.stacks.max(initial=-1) + 1 for part in parts)])
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    lengths = [len(part) for part in parts]
    arrays["patients"] += np.repeat(first_patient[:-1], lengths)
    arrays["stacks"] += np.repeat(first_stack[:-1], lengths)
    return Slices(**arrays, records=tuple(records))


def fingerprint(slices: Slices) -> str:
    """SHA-256 of the patients' images and masks: names, and the order of patients and slices, do not matter."""

    def patient_digest(patient: int) -> bytes:
        rows = slices.of_patient(patient)
        return _digest(sorted(_digest([slices.images[row].tobytes(), slices.masks[row].tobytes()]) for row in rows))

    shape = repr(slices.images.shape[1:]).encode()
    return _digest([shape, *sorted(map(patient_digest, range(slices.number_of_patients)))]).hex()


def split_patients(
    records: Iterable[Record],
    held_out_fraction: float,
    seed: int,
    strata: Sequence[Field] = ("vendor", "pathology"),
) -> tuple[list[str], list[str]]:
    """Names of the patients to train on and of those held out, each sorted.

    round(fraction x patients) are held out, at least one on either side. They are shared out over the first stratum's
    values by largest remainder, those of each value over the second's, and so on; where there are enough, every
    stratum of two or more patients is on both sides. Decided by the set of patients and the seed alone.
    Raises UserError when there are fewer than two patients.
    """
    patients = _patients(records)
    if len(patients) < 2:
        raise UserError(f"held_out_fraction: cannot split {len(patients)} patients; at least 2 are needed")
    seats = min(max(1, round(held_out_fraction * len(patients))), len(patients) - 1)
    held_out = set(_choose(patients, seats, strata, np.random.default_rng(seed)))
    return [record.patient for record in patients if record.patient not in held_out], sorted(held_out)


def assign_sites(records: Iterable[Record], federation: FederationConfig, seed: int = 0) -> dict[str, list[str]]:
    """Site name -> its patients' names, sorted.

    One site for each combination of `federation.site_by`, named like "mnms-Siemens"; or, where
    `federation.random_sites` is set, that many sites "site-1", "site-2", ... whose sizes differ by one at most, drawn
    by the seed. Raises UserError when there are more random sites than patients.
    """
    patients = _patients(records)
    if not federation.random_sites:
        return dict(sorted(_names_by(patients, federation.site_by).items()))
    if federation.random_sites > len(patients):
        raise UserError(
            f"federation.random_sites: {federation.random_sites} sites cannot share {len(patients)} patients; lower it"
        )
    shuffled = np.random.default_rng(seed).permutation([record.patient for record in patients])
    parts = np.array_split(shuffled, federation.random_sites)
    return {f"site-{number}": sorted(map(str, part)) for number, part in enumerate(parts, start=1)}


def _choose(patients: Sequence[Patient], seats: int, strata: Sequence[Field], rng: np.random.Generator) -> list[str]:
    """Draw `seats` patients, shared out over the strata, outermost first."""
    if not strata:
        return [patients[index].patient for index in rng.permutation(len(patients))[:seats]]
    groups: defaultdict[str, list[Patient]] = defaultdict(list)
    for record in patients:
        groups[getattr(record, strata[0])].append(record)
    names = sorted(groups)
    shares = _apportion(seats, np.array([len(groups[name]) for name in names]))
    chosen = zip(names, shares, strict=True)
    return [one for name, share in chosen for one in _choose(groups[name], share, strata[1:], rng)]


def _apportion(seats: int, sizes: Int64[np.ndarray, " stratum"]) -> list[int]:
    """Share seats out by largest remainder, first one to each stratum, always leaving one patient where that works."""
    quotas = seats * sizes / sizes.sum()
    room = sizes - 1 if seats <= (sizes - 1).sum() else sizes
    shares = np.zeros_like(sizes)
    for _ in range(seats):
        open_ = shares < room
        empty = open_ & (shares == 0)
        shares[np.argmax(np.where(empty if empty.any() else open_, quotas - shares, -np.inf))] += 1
    return shares.tolist()


def _patients(records: Iterable[Record]) -> list[Patient]:
    """Each patient once, sorted by name. Raises UserError when two records disagree about one."""
    patients = sorted(set(map(_record, records)))
    for one, other in pairwise(patients):
        if one.patient == other.patient:
            field = next(name for name, value in vars(one).items() if value != getattr(other, name))
            found = f"{getattr(one, field)!r} and {getattr(other, field)!r}"
            raise UserError(f"patient {one.patient}: {field} is {found}; give every volume of a patient the same")
    return patients


def _record(record: Record) -> Patient:
    return Patient(record.patient, record.dataset, record.vendor, record.centre, record.pathology)


def _names_by(patients: Iterable[Patient], fields: Sequence[Field]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for record in patients:
        groups[_site_name(*(getattr(record, field) for field in fields))].append(record.patient)
    return groups


def _site_name(*parts: str) -> str:
    """Names that are safe as folders too: a centre's name comes from a table that anybody may have written."""
    return re.sub(r"[^\w.-]+", "_", "-".join(parts)).lstrip(".") or "site"


def _check_together(cases: Sequence[Case]) -> None:
    if not cases:
        raise UserError("no cases were found; check data.sources")
    for one, other in pairwise(cases):
        if one.image.shape[1:] != other.image.shape[1:]:
            found = f"{other.image.shape[1:]} where {one.patient} has {one.image.shape[1:]}"
            raise UserError(f"patient {other.patient}: slices are {found}; prepare all on one grid")
        if (one.patient, one.phase) == (other.patient, other.phase):
            raise UserError(f"patient {one.patient}: phase {one.phase} is there twice; keep one copy")


def _digest(parts: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()
