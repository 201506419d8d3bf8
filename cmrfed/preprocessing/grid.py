"""The common grid: pixels of one size over one field of view, as weighted means of a scan's own voxels."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy.ndimage import map_coordinates

from cmrfed.conditions import UNLABELLED
from cmrfed.config import PreprocessingConfig
from cmrfed.shapes import STRUCTURES, Label, VolumeMask


@dataclass(frozen=True)
class Grid:
    """The new pixels as shares of stored voxels, `down` along rows and `across` along columns.

    Only `rows` and `columns`, the stored voxels that any pixel draws on, are in the two matrices. `places` has, for
    every stored row and every stored column, where among the new pixels its middle lies.
    """

    rows: slice
    columns: slice
    down: Float32[np.ndarray, "size rows"]
    across: Float32[np.ndarray, "size columns"]
    places: tuple[Float64[np.ndarray, " row"], Float64[np.ndarray, " column"]]

    @classmethod
    def around(
        cls,
        centre: tuple[float, float],
        shape: tuple[int, int],
        spacing_mm: tuple[float, float, float],
        config: PreprocessingConfig,
    ) -> "Grid":
        """The grid whose middle is `centre`, (row, column) in voxels of a plane of that shape and spacing."""
        rows, down = _shares(shape[0], spacing_mm[1], centre[0], config)
        columns, across = _shares(shape[1], spacing_mm[2], centre[1], config)
        row_places = _places(shape[0], spacing_mm[1], centre[0], config)
        return cls(rows, columns, down, across, (row_places, _places(shape[1], spacing_mm[2], centre[1], config)))

    def crop(self, stack: np.ndarray) -> np.ndarray:
        """The stored voxels inside the field of view."""
        return stack[:, self.rows, self.columns]

    def mean(self, cropped: Float32[np.ndarray, "slice rows columns"]) -> Float32[np.ndarray, "slice size size"]:
        """Mean over each new pixel's area; 0 outside the scan.

        Averaging is what keeps a coarser grid from aliasing, and is how a scanner's own voxels come about.
        """
        return self.down @ cropped @ self.across.T

    @property
    def seen(self) -> Bool[np.ndarray, "row column"]:
        """The stored voxels whose middle lies inside the field of view."""
        inside = [(place >= -0.5) & (place <= len(self.down) - 0.5) for place in self.places]
        return np.outer(*inside)

    def back(self, images: Float32[np.ndarray, "slice size size"]) -> Float32[np.ndarray, "slice row column"]:
        """Images of the common grid on the stored voxels, by cubic splines; 0 outside the field of view."""
        at = np.meshgrid(*self.places, indexing="ij")
        found = [map_coordinates(image, at, order=3, mode="nearest") for image in images]
        return np.where(self.seen, np.reshape(found, (len(images), *self.seen.shape)), 0).astype(np.float32)

    def majority(self, mask: VolumeMask) -> UInt8[np.ndarray, "slice size size"]:
        """The label that covers most of each new pixel; outside the scan, background.

        Labels never blend, and unlike nearest neighbour this does not leave walls thinner than a pixel to chance:
        contours fall where the image, resampled in the same way, shows them.
        """
        cropped = self.crop(mask)
        labels = [label for label in (*STRUCTURES, UNLABELLED) if (cropped == label).any()]
        areas = [self.mean((cropped == label).astype(np.float32)) for label in labels]
        background = 1 - np.sum(areas, axis=0) if areas else np.ones((len(mask), len(self.down), len(self.across)))
        winner = np.argmax(np.stack([background, *areas]), axis=0)
        return np.array([Label.BACKGROUND, *labels], dtype=np.uint8)[winner]


def _places(
    voxels: int, spacing_mm: float, centre: float, config: PreprocessingConfig
) -> Float64[np.ndarray, " voxel"]:
    """Where the stored voxels' middles lie along one axis: 0 is the middle of the first new pixel, 1 of the second."""
    from_centre_mm = (np.arange(voxels) - centre) * spacing_mm
    return (from_centre_mm + config.field_of_view_mm / 2) * config.size / config.field_of_view_mm - 0.5


def _shares(
    voxels: int, spacing_mm: float, centre: float, config: PreprocessingConfig
) -> tuple[slice, Float32[np.ndarray, "size used"]]:
    """Share of each stored voxel in each new pixel along one axis, and which stored voxels have one.

    A new pixel is the mean of linearly interpolated samples, spread evenly over it and no wider apart than the voxels.
    """
    pixel_mm = config.field_of_view_mm / config.size
    samples = math.ceil(pixel_mm / spacing_mm)
    from_centre_mm = (np.arange(config.size * samples) + 0.5) * pixel_mm / samples - config.field_of_view_mm / 2
    position = centre + from_centre_mm / spacing_mm
    linear = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(voxels)))
    shares = linear.reshape(config.size, samples, voxels).mean(axis=1).astype(np.float32)
    used = np.flatnonzero(shares.any(axis=0))
    window = slice(int(used[0]), int(used[-1]) + 1)
    return window, shares[:, window]
