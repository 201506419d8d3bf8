"""Cases -> a site's slices, kept by patient; and the patient-level splits into sites, training and held-out patients.

Nothing here ever separates the slices of one patient: the patient is the privacy unit.
"""

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64, UInt8
from safetensors import SafetensorError

from cmrfed.arrays import ArraysWriter, Rows, map_arrays, take_rows
from cmrfed.batches import Batch
from cmrfed.columns import columns, refuse_wild, unknown_column
from cmrfed.conditions import CONDITIONS, UNKNOWN, UNLABELLED, column_names
from cmrfed.config import FederationConfig, UserError, not_readable
from cmrfed.shapes import Volume
from cmrfed.volumes import Case, Entry
from cmrfed.volumetry import FUNCTION, ejection_of

Field = Literal["dataset", "vendor", "centre", "pathology"]


@dataclass(frozen=True, order=True)
class Patient:
    """One patient without images: the name and what sites and strata are made from.

    voxels: SHA-256 (hex) of each of the patient's volumes as it was read, by which the patient is known again however
        the volumes are prepared; empty where they were made in memory.
    """

    patient: str
    dataset: str
    vendor: str
    centre: str
    pathology: str
    voxels: tuple[str, ...] = ()


Record = Case | Entry | Patient
"""What a split reads of a patient: these name the patient, data set, vendor, centre and pathology alike."""


@dataclass(frozen=True, eq=False)
class Slices:
    """A site's slices, kept by patient.

    images: (slice, row, column), float32 in [-1, 1].
    masks: labels of `cmrfed.shapes.Label`, UNLABELLED, or a class of surrounding tissue; same shape.
    conditions: a column of each of `cmrfed.conditions.column_names` by name, (slice, ...), UNKNOWN where not known.
    patients: of each slice, the index of its patient in `records`.
    visits: of each slice, which of its patient's visits it is from, counted from 0; a part of these slices keeps the
        numbers.
    stacks: of each slice, which stack (one patient at one phase of one visit) it belongs to, counted from 0; inside a
        stack, slices are in the order in which they were acquired.
    spacing_mm: (slice, row, column) spacing of the stack each slice is from.
    records: the patients without their images; where visits differ, as the first one has it.
    sources: another image of each slice, NaN where there is none; None where nobody asked for them.

    Slices that were loaded leave images and masks on disk, and so do parts of them: only what is indexed is read.
    """

    images: Float32[np.ndarray, "slice row column"] | Rows
    masks: UInt8[np.ndarray, "slice row column"] | Rows
    conditions: Mapping[str, np.ndarray]
    patients: Int64[np.ndarray, " slice"]
    visits: Int64[np.ndarray, " slice"]
    stacks: Int64[np.ndarray, " slice"]
    spacing_mm: Float64[np.ndarray, "slice 3"]
    records: tuple[Patient, ...]
    sources: Float32[np.ndarray, "slice row column"] | Rows | None = None

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
            images=take_rows(self.images, rows),
            masks=take_rows(self.masks, rows),
            conditions={name: column[rows] for name, column in self.conditions.items()},
            patients=np.searchsorted(kept, self.patients[rows]).astype(np.int64),
            visits=self.visits[rows],
            stacks=np.unique(self.stacks[rows], return_inverse=True)[1].astype(np.int64),
            spacing_mm=self.spacing_mm[rows],
            records=tuple(self.records[index] for index in kept),
            sources=None if self.sources is None else take_rows(self.sources, rows),
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
    ) -> Batch:
        """Those slices as tensors, nothing drawn: images (batch, 1, row, column) float32, masks int64 among the
        conditions."""
        chosen = np.asarray(indices, dtype=np.int64)
        images = torch.from_numpy(self.images[chosen])[:, None]
        masks = torch.from_numpy(self.masks[chosen]).long()
        told = {"mask": masks} | {name: torch.from_numpy(column[chosen]) for name, column in self.conditions.items()}
        if self.sources is not None:
            told["source_image"] = torch.from_numpy(self.sources[chosen])
        return Batch(images, told, {}).to(device)

    def labelled(self) -> "Slices":
        """The slices whose every pixel has a label."""
        rows = range(0, len(self), _ROWS_AT_ONCE)
        known = [(self.masks[start : start + _ROWS_AT_ONCE] != UNLABELLED).all(axis=(1, 2)) for start in rows]
        return self.take(np.flatnonzero(np.concatenate([np.empty(0, bool), *known])))

    def save(self, path: Path, source: str = "") -> None:
        """Write as safetensors, the patients as JSON in its header. The file appears whole or not at all.

        `source` names what the slices were made from (see `source_of`).
        """
        arrays = _flat(self)
        with ArraysWriter(path, {name: _row_of(array) for name, array in arrays.items()}) as writer:
            for name, array in arrays.items():
                writer.add(name, array)
            writer.close(_header(self.records, source))

    @classmethod
    def load(cls, path: Path) -> "Slices":
        """Open what `save` or `write_slices` wrote. Raises UserError when it is missing, damaged or something else."""
        try:
            arrays, metadata = map_arrays(path)
            records = tuple(_read_record(values) for values in json.loads(metadata["records"]))
            _refuse_wild(arrays, records)
            return _unflat(
                {name: array if name in _LARGE else np.array(array) for name, array in arrays.items()}, records
            )
        except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            otherwise = f"{path}: is not a file of slices ({reason}); prepare the data again"
            raise not_readable(path, error, otherwise) from None


_SMALL, _LARGE = ("patients", "visits", "stacks", "spacing_mm"), ("images", "masks", "sources")
"""Arrays that are read, and arrays that are left on disk, of which the last need not be there."""
_CONDITION = "condition "
"""Before a condition's name in a file."""


def _flat(slices: Slices) -> dict[str, np.ndarray | Rows]:
    """The arrays by name, in the order in which a file holds them: wide numbers first, so that all are aligned."""
    conditions = {f"{_CONDITION}{name}": column for name, column in slices.conditions.items()}
    small = {name: getattr(slices, name) for name in _SMALL} | conditions
    large = {name: getattr(slices, name) for name in _LARGE if getattr(slices, name) is not None}
    return dict(sorted(small.items(), key=lambda one: -one[1].dtype.itemsize)) | large


def _unflat(arrays: Mapping[str, np.ndarray | Rows], records: Iterable[Patient]) -> Slices:
    """The inverse. A condition that the arrays do not have, as files from before it was thought of, is UNKNOWN."""
    own = {name: arrays[name] for name in (*_SMALL, *_LARGE) if name in arrays}
    known = {name: arrays[f"{_CONDITION}{name}"] for name in column_names() if f"{_CONDITION}{name}" in arrays}
    unknown = {name: unknown_column(name, len(own["images"])) for name in column_names() if name not in known}
    return Slices(conditions=known | unknown, records=tuple(records), **own)  # type: ignore[arg-type]


_ROWS_AT_ONCE = 4096


def _refuse_wild(arrays: Mapping[str, np.ndarray], records: Sequence[Patient]) -> None:
    """Raise ValueError where arrays are not of a `Slices`, or an index leads nowhere. Images and masks are not read."""
    if f"{_CONDITION}vendor" not in arrays:
        raise ValueError("it was written by an older version, which knew fewer conditions")
    slices, *grid = arrays["images"].shape
    conditions = {name: CONDITIONS[name] for name in column_names() if f"{_CONDITION}{name}" in arrays}
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "images": (np.float32, (slices, *grid)),
        "masks": (np.uint8, (slices, *grid)),
        "patients": (np.int64, (slices,)),
        "visits": (np.int64, (slices,)),
        "stacks": (np.int64, (slices,)),
        "spacing_mm": (np.float64, (slices, 3)),
        **({"sources": (np.float32, (slices, *grid))} if "sources" in arrays else {}),
        **{f"{_CONDITION}{name}": (one.dtype, (slices, *(one.shape or ()))) for name, one in conditions.items()},
    }
    for name, (dtype, shape) in wanted.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape or len(grid) != 2:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, not {np.dtype(dtype)} {shape}")
    for name in conditions:
        refuse_wild(name, arrays[f"{_CONDITION}{name}"])
    _refuse_outside("patients", arrays["patients"], len(records))
    _refuse_outside("visits", arrays["visits"], np.iinfo(np.int64).max)
    _refuse_outside("stacks", arrays["stacks"], slices)
    if not ((arrays["spacing_mm"] > 0) & np.isfinite(arrays["spacing_mm"])).all():
        raise ValueError("spacing_mm is not of finite, positive lengths")


def _refuse_outside(name: str, indices: np.ndarray, end: int | list[int]) -> None:
    if ((indices < 0) | (indices >= end)).any():
        raise ValueError(f"{name} are not all within 0..{end}")


def source_of(path: Path) -> str | None:
    """What the slices of a file were made from, as their writer named it; None when there is no such file."""
    try:
        return map_arrays(path)[1].get("source")
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError):
        return None


def is_slices(path: Path) -> bool:
    """Whether the file holds slices, as nobody but this module writes them."""
    return source_of(path) is not None


def collect(cases: Iterable[Case], pair_phases: bool = False) -> Slices:
    """All slices of prepared cases: patients in the order of their names, their visits in order, ED before ES, whatever
    order the cases come in. With `pair_phases` the source of each is the same slice at the other phase.

    Raises UserError when there are no cases, when they are not on one grid, when a patient has a phase twice in one
    visit or one image in two, or when a visit has two vendors, centres, pathologies or data sets.
    """
    stacks = _Stacks()
    pieces = [stacks.add(case) for case in _visits(sorted(cases, key=_order), pair_phases)]
    stacks.refuse_empty()
    return _unflat({name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}, stacks.records)


def write_slices(path: Path, cases: Iterable[Case], source: str = "", pair_phases: bool = False) -> Slices:
    """`collect` for more cases than memory holds: they go to the file one by one, and are left there.

    Cases come in the order of patients' names, visits and phases. Raises UserError as `collect` does, and when they do
    not.
    """
    stacks, writer = _Stacks(), None
    try:
        for case in _visits(cases, pair_phases):
            piece = stacks.add(case)
            writer = writer or ArraysWriter(path, {name: _row_of(array) for name, array in piece.items()})
            for name, array in piece.items():
                writer.add(name, array)
        stacks.refuse_empty()
        assert writer is not None
        writer.close(_header(stacks.records, source))
    finally:
        if writer:
            writer.abandon()
    return Slices.load(path)


def _order(case: Case) -> tuple[str, str, str]:
    return case.patient, case.visit, case.phase


def _visits(cases: Iterable[Case], pair_phases: bool) -> Iterator[Case]:
    """The cases in their order, each knowing what the other phases of its visit tell: the heart's volumes, and, where
    that is asked for, its slices at the other phase."""
    for _, of_visit in groupby(cases, lambda case: (case.patient, case.visit)):
        visit = list(of_visit)
        volumes = {name: value for case in visit for name, value in case.conditions.items() if name in FUNCTION}
        volumes |= ejection_of(volumes)
        sources = {case.phase: _other_phase(case, visit) if pair_phases else case.source for case in visit}
        for case in visit:
            yield replace(case, conditions={**case.conditions, **volumes}, source=sources[case.phase])


def _other_phase(case: Case, visit: list[Case]) -> Volume:
    """Of each slice the image at the other of two phases, in whose stack it is as far along; NaN where there are not
    two."""
    others = [one for one in visit if one.phase != case.phase]
    if len(others) != 1:
        return np.full_like(case.image, np.nan)
    (other,) = others
    return other.image[np.linspace(0, len(other.image) - 1, len(case.image)).round().astype(int)]


class _Stacks:
    """Numbers patients and stacks as cases come by, in order, and refuses those that do not belong together."""

    def __init__(self) -> None:
        self.records: list[Patient] = []
        self._stacks = 0
        self._visit = 0
        self._images: set[tuple[str, str]] = set()
        self._last: Case | None = None

    def add(self, case: Case) -> dict[str, np.ndarray | Rows]:
        """The rows of `Slices`' arrays that this case gives."""
        if self._last is not None:
            self._check_after(self._last, case)
        self._place(case, self._last)
        self._refuse_copy(case)
        self._last = replace(case, image=case.image[:0], mask=case.mask[:0], motion=None, source=None)
        self._stacks += 1
        depth = len(case.image)
        named = {name: getattr(case, name) for name in ("vendor", "phase", "pathology")}
        return _flat(
            Slices(
                images=case.image,
                masks=case.mask,
                conditions=columns(depth, {**named, **case.conditions}),
                patients=np.full(depth, len(self.records) - 1, dtype=np.int64),
                visits=np.full(depth, self._visit, dtype=np.int64),
                stacks=np.full(depth, self._stacks - 1, dtype=np.int64),
                spacing_mm=np.tile(np.array(case.spacing_mm, dtype=np.float64), (depth, 1)),
                records=(),
                sources=case.source,
            )
        )

    def refuse_empty(self) -> None:
        if not self.records:
            raise UserError("no cases were found; check data.sources")

    def _place(self, case: Case, last: Case | None) -> None:
        """Number the patient and the visit. A patient's record is that of the first visit, with the voxels of all."""
        record = _record(case)
        if last is not None and last.patient == case.patient:
            first = self.records.pop()
            record = replace(first, voxels=tuple(sorted({*first.voxels, *record.voxels})))
            self._visit += last.visit != case.visit
        else:
            self._visit, self._images = 0, set()
        self.records.append(record)

    def _refuse_copy(self, case: Case) -> None:
        """A copy of an image is no second visit."""
        image = (case.phase, case.voxels or _digest([case.image.tobytes()]).hex())
        if image in self._images:
            raise UserError(
                f"patient {case.patient}: the image at {case.phase} of visit {case.visit} is that of an earlier visit; "
                "keep one copy"
            )
        self._images.add(image)

    def _check_after(self, last: Case, case: Case) -> None:
        if last.image.shape[1:] != case.image.shape[1:]:
            found = f"{case.image.shape[1:]} where {last.patient} has {last.image.shape[1:]}"
            raise UserError(f"patient {case.patient}: slices are {found}; prepare all on one grid")
        if _order(last) == _order(case):
            raise UserError(f"patient {case.patient}: phase {case.phase} is there twice; keep one copy")
        if _order(last) > _order(case):
            raise UserError(f"patient {case.patient}: comes after {last.patient}; give cases in the order of patients")
        if (last.patient, last.visit) == (case.patient, case.visit):
            _check_same(*sorted((_record(last), _record(case))))


def _row_of(array: np.ndarray | Rows) -> tuple[np.dtype, tuple[int, ...]]:
    return array.dtype, array.shape[1:]


def _header(records: Iterable[Patient], source: str) -> dict[str, str]:
    return {"records": json.dumps([vars(record) for record in records]), "source": source}


def concatenate(parts: Sequence[Slices]) -> Slices:
    """Join the slices of several sites. Raises UserError when two of them hold the same patient."""
    records = [record for part in parts for record in part.records]
    names = [record.patient for record in records]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"patient {twice} is in two of the joined parts; a patient belongs to one site")
    first_patient = np.cumsum([0, *(part.number_of_patients for part in parts)])
    first_stack = np.cumsum([0, *(part.stacks.max(initial=-1) + 1 for part in parts)])
    flat = [_flat(part) for part in parts]
    shared = [name for name in flat[0] if all(name in one for one in flat)]  # sources, where all have them
    arrays = {name: np.concatenate([np.asarray(one[name]) for one in flat]) for name in shared}
    lengths = [len(part) for part in parts]
    arrays["patients"] += np.repeat(first_patient[:-1], lengths)
    arrays["stacks"] += np.repeat(first_stack[:-1], lengths)
    return _unflat(arrays, records)


def masks_alone(
    masks: UInt8[np.ndarray, "slice row column"],
    conditions: Mapping[str, np.ndarray],
    spacing_mm: tuple[float, float, float],
    name: str = "nobody",
) -> Slices:
    """One stack of nobody's, without images, to draw images for."""
    count = len(masks)
    return Slices(
        images=np.zeros(masks.shape, np.float32),
        masks=masks,
        conditions=conditions,
        patients=np.zeros(count, np.int64),
        visits=np.zeros(count, np.int64),
        stacks=np.zeros(count, np.int64),
        spacing_mm=np.tile(np.array(spacing_mm, np.float64), (count, 1)),
        records=(Patient(name, "masks", UNKNOWN, UNKNOWN, UNKNOWN),),
    )


def fingerprint(slices: Slices) -> str:
    """SHA-256 of the patients' images and masks: names, and the order of patients and slices, do not matter."""

    def patient_digest(patient: int) -> bytes:
        rows = slices.of_patient(patient)
        return _digest(sorted(_digest([slices.images[row].tobytes(), slices.masks[row].tobytes()]) for row in rows))

    shape = repr(slices.images.shape[1:]).encode()
    return _digest([shape, *sorted(map(patient_digest, range(slices.number_of_patients)))]).hex()


def slice_digests(slices: Slices) -> list[str]:
    """16 hexadecimal digits for each slice's image, by which the same one is known wherever it is on the same grid."""
    return [_digest([slices.images[row].tobytes()])[:8].hex() for row in range(len(slices))]


def is_drawn(patient: str, share: float, key: bytes) -> bool:
    """Whether a patient is one of a `share` of all: so says BLAKE2b, keyed with up to 64 bytes, of the name alone.

    Nobody else's being there or not matters, as it must not where privacy rests on who is trained on; how many are
    drawn is therefore binomial. Names that differ in Unicode form alone are one (NFC).
    """
    return _draw(patient, key) < share


def _draw(patient: str, key: bytes) -> float:
    """A number in [0, 1) that is the patient's own under this key."""
    name = unicodedata.normalize("NFC", patient).encode(errors="surrogatepass")
    return (int.from_bytes(hashlib.blake2b(name, key=key, digest_size=8).digest(), "big") >> 11) * 2.0**-53


def split_one_by_one(records: Iterable[Record], held_out_fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Names of the patients to train on and of those held out, each sorted; each by `is_drawn` under a public seed.

    For those who are trained on: one patient more or less moves nobody else across the line. Strata are not balanced,
    and of n patients n x fraction +- sqrt(n x fraction x (1 - fraction)) are held out. Raises UserError when there are
    fewer than two patients or all are on one side.
    """
    patients = _patients_to_split(records)
    key = f"sides {seed}".encode()[:64]
    held_out = [record.patient for record in patients if is_drawn(record.patient, held_out_fraction, key)]
    if not 0 < len(held_out) < len(patients):
        raise UserError(
            f"held_out_fraction: of {len(patients)} patients {len(held_out)} are drawn to be held out under seed "
            f"{seed}; choose another seed or fraction"
        )
    return [record.patient for record in patients if record.patient not in set(held_out)], held_out


def split_patients(
    records: Iterable[Record],
    held_out_fraction: float,
    seed: int,
    strata: Sequence[Field] = ("vendor", "centre", "pathology"),
) -> tuple[list[str], list[str]]:
    """Two parts of patients who are to be compared, names sorted: the others, and round(fraction x patients) held out.

    At least one is on either side. They are shared out over the first stratum's values by largest remainder, those of
    each value over the second's, and so on: where there are enough, every stratum of two or more patients is on both
    sides. Decided by the set of patients and the seed alone, so that one patient more or less moves others: never for
    choosing who is trained on privately (`split_one_by_one`). Raises UserError when there are fewer than two patients.
    """
    patients = _patients_to_split(records)
    seats = min(max(1, round(held_out_fraction * len(patients))), len(patients) - 1)
    held_out = sorted(_choose(patients, seats, strata, np.random.default_rng(seed)))
    return [record.patient for record in patients if record.patient not in set(held_out)], held_out


def _patients_to_split(records: Iterable[Record]) -> list[Patient]:
    patients = _patients(records)
    if len(patients) < 2:
        raise UserError(f"held_out_fraction: cannot split {len(patients)} patients; at least 2 are needed")
    return patients


def assign_sites(records: Iterable[Record], federation: FederationConfig, seed: int = 0) -> dict[str, list[str]]:
    """Site name -> its patients' names, sorted.

    One site for each combination of `federation.site_by`, named like "mnms-Siemens"; or, where
    `federation.random_sites` is set, that many sites "site-1", "site-2", ... to one of which each patient goes by a
    keyed hash of the patient's name alone, under the seed: one patient more or less moves nobody else, and sizes differ
    as chance has it. Raises UserError when a site would have nobody.
    """
    patients = _patients(records)
    if not federation.random_sites:
        return dict(sorted(_names_by(patients, federation.site_by).items()))
    sites: dict[str, list[str]] = {f"site-{number + 1}": [] for number in range(federation.random_sites)}
    for record in patients:
        share = _draw(record.patient, f"sites {seed}".encode()[:64])
        sites[f"site-{int(share * federation.random_sites) + 1}"].append(record.patient)
    if empty := [name for name, own in sites.items() if not own]:
        raise UserError(
            f"federation.random_sites: of {len(patients)} patients nobody is drawn for {empty[0]} of {len(sites)} "
            f"sites under seed {seed}; lower it or choose another seed"
        )
    return sites


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
    """Each patient once, as the first visit has it, sorted by name. Raises UserError when records of one disagree."""
    visits = sorted({(record.patient, _visit(record), _record(record)) for record in records})
    for (name, visit, one), (other_name, other_visit, other) in pairwise(visits):
        if (name, visit) == (other_name, other_visit):
            _check_same(one, other)
    first = {name: record for name, _, record in reversed(visits)}
    return [first[name] for name in sorted(first)]


def _check_same(one: Patient, other: Patient) -> None:
    for name, value in vars(one).items():
        if name != "voxels" and value != getattr(other, name):
            found = f"{value!r} and {getattr(other, name)!r}"
            raise UserError(f"patient {one.patient}: {name} is {found}; give every volume of a patient the same")


def _record(record: Record) -> Patient:
    voxels = (record.voxels,) if isinstance(record, Case) and record.voxels else ()
    return Patient(record.patient, record.dataset, record.vendor, record.centre, record.pathology, voxels)


def _read_record(values: dict[str, Any]) -> Patient:
    """Raises ValueError, or what a wrong key raises, where values are none of a patient."""
    if not all(isinstance(text, str) for name, text in values.items() if name != "voxels"):
        raise ValueError("records are not of texts")
    return Patient(**(values | {"voxels": tuple(values.get("voxels", ()))}))


def _visit(record: Record) -> str:
    return "" if isinstance(record, Patient) else record.visit


def _names_by(patients: Iterable[Patient], fields: Sequence[Field]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for record in patients:
        groups[_site_name(*(getattr(record, field) for field in fields))].append(record.patient)
    return groups


def _site_name(*parts: str) -> str:
    """Names that are safe as folders too: a centre's name comes from a table that anybody may have written."""
    return re.sub(r"[^\w.-]+", "_", "-".join(parts)).lstrip(".") or "site"


def _digest(parts: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()
