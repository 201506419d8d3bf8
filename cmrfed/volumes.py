"""Volumes on disk <-> Case, the one form in which a patient's stack travels through the project."""

from dataclasses import dataclass

from cmrfed.shapes import UNKNOWN, Volume, VolumeMask


@dataclass(frozen=True)
class Case:
    """One patient's short-axis stack at one cardiac phase.

    image: intensities (slice, row, column), float32, finite.
    mask: labels of `cmrfed.shapes.Label` (slice, row, column), uint8, same shape as the image.
    spacing_mm: distance between slice, row and column centres, in that order.
    patient: the privacy unit; unique over all data sets of a run, the same for every phase and visit of one person.
    dataset, vendor, centre, phase, pathology: what sites, strata and conditions are made from.
    """

    image: Volume
    mask: VolumeMask
    spacing_mm: tuple[float, float, float]
    patient: str
    dataset: str
    vendor: str = UNKNOWN
    centre: str = UNKNOWN
    phase: str = UNKNOWN
    pathology: str = UNKNOWN
