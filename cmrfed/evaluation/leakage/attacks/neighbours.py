"""Distances from some images to the nearest of an archive that need not fit into memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cmrfed.arrays import Rows

NOBODY = -1
"""Owner of an image that is of no patient here."""


@dataclass(frozen=True)
class Points:
    """Images as points, by their pixels or by features of them, and the patient each is of.

    parts: arrays with one row an image, of any shape, one after the other; read piece by piece. owners: patient
    numbers, or NOBODY. Of a synthetic image the owner is the patient for whose mask it was drawn: it resembles that
    patient for the mask's sake alone.
    """

    parts: tuple[np.ndarray | Rows, ...]
    owners: Int[np.ndarray, " image"]

    @classmethod
    def joined(cls, points: Sequence["Points"]) -> "Points":
        """Several sets as one."""
        return cls(tuple(part for one in points for part in one.parts), np.concatenate([one.owners for one in points]))

    def __len__(self) -> int:
        return len(self.owners)

    def piece(self, start: int, stop: int) -> Float[Tensor, "image dimension"]:
        """Some rows, flat, in double precision: copies lie so close that single precision would blur them."""
        return self.rows(np.arange(start, min(stop, len(self))))

    def rows(self, ascending: Int[np.ndarray, " image"]) -> Float[Tensor, "image dimension"]:
        """Those rows alone, flat."""
        ends = np.cumsum([len(part) for part in self.parts])
        each = np.split(ascending, np.searchsorted(ascending, ends[:-1]))
        firsts = [0, *ends[:-1]]
        read = [
            np.asarray(part[own - first], dtype=np.float64).reshape(len(own), -1)
            for part, own, first in zip(self.parts, each, firsts, strict=True)
            if len(own)
        ]
        return torch.from_numpy(np.concatenate(read))


@dataclass(frozen=True)
class Neighbours:
    """The nearest archive images of each query, nearest first: root mean square distance, and index in the archive."""

    distances: Float[np.ndarray, "query neighbour"]
    indices: Int[np.ndarray, "query neighbour"]


@dataclass(frozen=True)
class Samples:
    """What a samples-only attack compares, all as points of one space.

    scored: the slices of the patients who are scored, numbered 0, 1, ... without gaps. archive: every real image there
    is, of members and non-members alike. An image drawn for a patient's own mask says nothing about that patient, and a
    patient's own images are no yardstick: both are left out, so that members and non-members are treated alike.
    """

    scored: Points
    synthetic: Points
    archive: Points


def patient_minima(
    values: Float[np.ndarray, " slice"], patients: Int[np.ndarray, " slice"]
) -> Float[np.ndarray, " patient"]:
    """The smallest value of each patient 0, 1, ...: one slice that was copied is enough."""
    lowest = np.full(patients.max() + 1, np.inf)
    np.minimum.at(lowest, patients, values)
    return lowest


def nearest(queries: Points, archive: Points, count: int = 1, rows_at_once: int = 2048) -> Neighbours:
    """The `count` nearest images of the archive, a query's owner's own images left out.

    Fewer than `count` are filled up with infinite distances. Memory holds `rows_at_once` images of each side at a time.
    """
    found = [
        _nearest(queries.piece(start, start + rows_at_once), queries.owners[start : start + rows_at_once], archive,
                 count, rows_at_once)
        for start in range(0, len(queries), rows_at_once)
    ]  # fmt: skip
    return Neighbours(*(torch.cat(parts).numpy() for parts in zip(*found, strict=True)))


def _nearest(
    queries: Float[Tensor, "query dimension"],
    owners: Int[np.ndarray, " query"],
    archive: Points,
    count: int,
    rows_at_once: int,
) -> tuple[Float[Tensor, "query neighbour"], Int[Tensor, "query neighbour"]]:
    distances = torch.full((len(queries), count), torch.inf, dtype=torch.float64)
    indices = torch.full((len(queries), count), -1)
    for start in range(0, len(archive), rows_at_once):
        here = distances_between(queries, archive.piece(start, start + rows_at_once))
        own = _same_owner(owners, archive.owners[start : start + rows_at_once])
        both = torch.cat([distances, here.masked_fill(own, torch.inf)], dim=1)
        places = torch.cat([indices, torch.arange(start, start + here.shape[1]).expand(len(queries), -1)], dim=1)
        distances, order = both.topk(count, largest=False)
        indices = places.gather(1, order)
    return distances, indices


def distances_between(
    queries: Float[Tensor, "query dimension"], archive: Float[Tensor, "image dimension"]
) -> Float[Tensor, "query image"]:
    """Root mean square distances over dimensions."""
    return torch.cdist(queries, archive) / archive.shape[1] ** 0.5


def _same_owner(queries: Int[np.ndarray, " query"], archive: Int[np.ndarray, " image"]) -> Tensor:
    return torch.from_numpy((queries[:, None] == archive) & (archive != NOBODY))
