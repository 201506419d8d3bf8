"""Sums over the members of many groups at once: pairs, runs or zones of pixels, each in one image and direction."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

MemberKey = Int64[np.ndarray, " member"]
Cell = Int64[np.ndarray, " cell"]
Levels = Int64[np.ndarray, "image row column"]
"""Grey levels, counted from 1."""
PerGroup = Float64[np.ndarray, " group"]

_COUNTED_AT_ONCE = 2**24
"""Counters up to which counting every possible key is faster than sorting those that occur."""


@dataclass(frozen=True)
class Spread:
    """Of the distinct keys of each group: entropy in bits, sum of squared counts, the most frequent one's count."""

    entropy: PerGroup
    squared_counts: PerGroup
    largest_count: PerGroup


@dataclass(frozen=True)
class Groups:
    """Which of `count` groups each member is in, and how often it is there (None: once)."""

    of: Int64[np.ndarray, " member"]
    count: int
    times: Float64[np.ndarray, " member"] | None = None

    def sums(self, values: Float64[np.ndarray, " member"] | None = None) -> PerGroup:
        """Sum of values over each group; of ones, the number of its members."""
        weights = self.times if values is None else values if self.times is None else values * self.times
        return np.bincount(self.of, weights, self.count).astype(np.float64)

    def means(self, values: Float64[np.ndarray, " member"]) -> PerGroup:
        """Mean of values over each group; 0 for an empty one."""
        return self.sums(values) / np.maximum(self.sums(), 1)

    def distinct(self, *keys: MemberKey) -> tuple["Groups", list[Cell]]:
        """Members of a group with the same keys joined into one, and the keys of each."""
        widths, code = [int(key.max(initial=0)) + 1 for key in keys], self.of
        for key, width in zip(keys, widths, strict=True):
            code = code * width + key
        values, times = self._counted(code, self.count * int(np.prod(widths)))
        found = []
        for width in reversed(widths):
            values, key = np.divmod(values, width)
            found.append(key)
        return Groups(values, self.count, times), found[::-1]

    def spread(self, *keys: MemberKey) -> Spread:
        """How the keys are distributed in each group."""
        cells, _ = self.distinct(*keys)
        assert cells.times is not None
        shares = cells.times / cells.sums()[cells.of]
        largest = np.zeros(self.count)
        np.maximum.at(largest, cells.of, cells.times)
        squared = np.bincount(cells.of, cells.times**2, self.count)
        return Spread(-np.bincount(cells.of, shares * np.log2(shares), self.count), squared, largest)

    def _counted(self, code: MemberKey, possible: int) -> tuple[Cell, Float64[np.ndarray, " cell"]]:
        """(Values that occur, how often)."""
        if possible <= _COUNTED_AT_ONCE:
            counts = np.bincount(code, self.times, possible)
            values = np.flatnonzero(counts)
            return values, counts[values].astype(np.float64)
        values, index = np.unique(code, return_inverse=True)
        return values, np.bincount(index, self.times).astype(np.float64)


def over_directions(values: dict[str, PerGroup], images: int) -> dict[str, Float64[np.ndarray, " image"]]:
    """Means over an image's directions, where groups are numbered direction by direction."""
    return {name: row.reshape(-1, images).mean(0) for name, row in values.items()}
