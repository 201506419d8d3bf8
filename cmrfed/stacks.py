"""Slices taken together as stacks, for generators that draw several levels of a heart at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64

from cmrfed.batches import Batch
from cmrfed.conditions import UNLABELLED, column_names
from cmrfed.slices import Slices

_OUTSIDE = -1.0
"""The intensity of what was not scanned, as preprocessing has it."""


@dataclass(frozen=True, eq=False)
class Stacks:
    """All slices of one patient at one phase of one visit, in the order in which they were acquired, as one sample.

    levels: how many slices a sample has room for. A stack of more is cut into consecutive pieces; one of fewer leaves
    its last levels empty (`known` says which are there): their image is that of the outside of a scan, their mask
    UNLABELLED. A sample's other conditions are those of its first slice.
    """

    slices: Slices
    levels: int

    @cached_property
    def rows(self) -> list[Int64[np.ndarray, " level"]]:
        """Of each sample, the indices of its slices."""
        order = np.argsort(self.slices.stacks, kind="stable")
        ends = np.cumsum(np.bincount(self.slices.stacks))
        whole = np.split(order, ends[:-1])
        return [stack[start : start + self.levels] for stack in whole for start in range(0, len(stack), self.levels)]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def number_of_patients(self) -> int:
        return self.slices.number_of_patients

    @cached_property
    def patients(self) -> Int64[np.ndarray, " sample"]:
        """Of each sample, the index of its patient in the slices' records."""
        return np.array([self.slices.patients[rows[0]] for rows in self.rows], dtype=np.int64)

    @cached_property
    def spacing_mm(self) -> np.ndarray:
        """(sample, 3): of (level, row, column), as the stack each sample is from has it."""
        return np.array([self.slices.spacing_mm[rows[0]] for rows in self.rows])

    @cached_property
    def known(self) -> Bool[np.ndarray, "sample level"]:
        """Which levels were scanned."""
        return np.array([np.arange(self.levels) < len(rows) for rows in self.rows])

    def of_patient(self, patient: int) -> Int64[np.ndarray, " n"]:
        """Indices of the samples of the patient at that index in the records."""
        return np.flatnonzero(self.patients == patient)

    def by_vendor(self) -> "dict[str, Stacks]":
        """The stacks of each vendor's patients, vendors in alphabetical order."""
        return {vendor: Stacks(own, self.levels) for vendor, own in self.slices.by_vendor().items()}

    def batch(
        self,
        indices: Sequence[int] | Int[np.ndarray, " batch"] | Int[torch.Tensor, " batch"],
        device: torch.device | str = "cpu",
    ) -> Batch:
        """Those samples as tensors, nothing drawn: images (batch, 1, level, row, column)."""
        chosen = [self.rows[index] for index in np.asarray(indices, dtype=np.int64)]
        shape = (len(chosen), self.levels, *self.slices.images.shape[1:])
        images, masks = np.full(shape, _OUTSIDE, np.float32), np.full(shape, UNLABELLED, np.int64)
        for place, rows in enumerate(chosen):
            images[place, : len(rows)], masks[place, : len(rows)] = self.slices.images[rows], self.slices.masks[rows]
        first = np.array([rows[0] for rows in chosen], dtype=np.int64)
        columns = {name: torch.from_numpy(self.slices.conditions[name][first]) for name in column_names()}
        told = {"mask": torch.from_numpy(masks), **columns}
        return Batch(torch.from_numpy(images)[:, None], told, {}).to(device)

    def as_slices(
        self, images: Float32[np.ndarray, "sample level row column"]
    ) -> Float32[np.ndarray, "slice row column"]:
        """Images of samples as images of the slices that they are of."""
        found = np.empty(self.slices.images.shape, np.float32)
        for one, rows in zip(images, self.rows, strict=True):
            found[rows] = one[: len(rows)]
        return found


def samples_of(slices: Slices, levels: int) -> Slices | Stacks:
    """What a generator that draws so many levels at once learns from: slices, or stacks."""
    return slices if levels == 1 else Stacks(slices, levels)
