"""A patient's visit: draw anatomy and settings, render both phases, give them as Cases."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.random import Generator, SeedSequence, default_rng

from cmrfed.conditions import CONDITIONS
from cmrfed.phantom.anatomy import (
    FIELD_OF_VIEW_MM,
    SIZE,
    SUBSLICES,
    Anatomy,
    Outline,
    PlanePoints,
    Subslice,
    sample_anatomy,
)
from cmrfed.phantom.fields import Planes
from cmrfed.phantom.heart import PATHOLOGIES, Pathology, Phase, Sex, sample_physiology
from cmrfed.phantom.physics import Sequence
from cmrfed.phantom.receiver import View, receive
from cmrfed.phantom.styles import VendorStyle, sample_style
from cmrfed.phantom.texture import Box, Texture

OutlinePairs = list[tuple[Outline, Outline]]

PHASES: tuple[Phase, ...] = ("ED", "ES")

_WALL_MM = 12.0
"""The thickest wall of a right ventricle, and the fill of the groove beside it."""


@dataclass(frozen=True)
class Person:
    """Who is scanned: age in years, height in cm, weight in kg."""

    pathology: Pathology
    sex: Sex
    age: int
    height_cm: int
    weight_kg: int

    @property
    def conditions(self) -> dict[str, object]:
        """What a generator may be told of who is scanned, by names in `cmrfed.conditions`."""
        return {"sex": self.sex, "age": self.age, "bmi": self.body_mass_index, "sequence": "bSSFP"}

    @property
    def body_mass_index(self) -> float:
        """kg/m2."""
        return self.weight_kg / (self.height_cm / 100) ** 2

    @property
    def adiposity(self) -> float:
        """0 at a body-mass index of 19 kg/m2, 1 at 38."""
        return float(np.clip((self.body_mass_index - 19) / 19, 0, 1))


@dataclass(frozen=True)
class Scan:
    """One patient's rendered visit; images and masks by phase, (slice, row, column)."""

    person: Person
    style: VendorStyle
    images: dict[Phase, Float32[np.ndarray, "slice row column"]]
    masks: dict[Phase, UInt8[np.ndarray, "slice row column"]]
    spacing_mm: tuple[float, float, float]


def scan_patient(seed: int, vendor: str | None, index: int) -> Scan:
    """Patient `index` of a vendor (None: any scanner), decided by (seed, vendor, index) alone."""
    return next(_scans(seed, vendor, index, ("bSSFP",)))


def scan_patient_twice(seed: int, vendor: str | None, index: int, second: Sequence) -> tuple[Scan, Scan]:
    """The same, and the same slices once more on any scanner, in that sequence: one anatomy and one view in two
    looks."""
    one, other = _scans(seed, vendor, index, ("bSSFP", second))
    return one, other


def _scans(seed: int, vendor: str | None, index: int, sequences: tuple[Sequence, ...]) -> Iterator[Scan]:
    vendor_number = int(CONDITIONS["vendor"].read(vendor))
    rng = default_rng(SeedSequence([seed, vendor_number, index]))
    person = _sample_person(rng)
    style = sample_style(vendor, rng)
    spacing = style.slice_thickness_mm + style.slice_gap_mm
    anatomy = sample_anatomy(rng, sample_physiology(rng, person.pathology, person.sex), person.adiposity, spacing)
    view = View.sample(rng, style)
    for sequence in sequences:
        images, masks, pixel_mm = render(anatomy, style, view, rng, sequence)
        yield Scan(person, style, images, masks, (spacing, *pixel_mm))
        style = _elsewhere(style, rng)


def _elsewhere(style: VendorStyle, rng: Generator) -> VendorStyle:
    """Any scanner's settings, but for those that place pixels and slices."""
    placed = ("pixel_mm", "phase_fov", "slice_thickness_mm", "slice_gap_mm")
    return replace(sample_style(None, rng), **{name: getattr(style, name) for name in placed})


def render(
    anatomy: Anatomy, style: VendorStyle, view: View, rng: Generator, sequence: Sequence = "bSSFP"
) -> tuple[
    dict[Phase, Float32[np.ndarray, "slice row column"]],
    dict[Phase, UInt8[np.ndarray, "slice row column"]],
    tuple[float, float],
]:
    """Image both phases of a patient with one scan's settings.

    Returns images (>= 0) and masks by phase, and the spacing of rows and columns in mm.
    """
    rows, columns = view.pixels(style.pixel_mm)
    outlines = [anatomy.outline(index) for index in range(len(anatomy.slices_z_mm))]
    masks = _masks(anatomy, outlines, view, rows, columns)
    planes = _magnetisation(anatomy, outlines, view, style, rng, sequence)
    ed, es = np.split(_store(receive(planes, anatomy.thorax.wall, view, style, rng), style), 2)
    height, width = view.field_of_view_mm
    return {"ED": ed, "ES": es}, masks, (height / rows, width / columns)


def _masks(
    anatomy: Anatomy, outlines: OutlinePairs, view: View, rows: int, columns: int
) -> dict[Phase, UInt8[np.ndarray, "slice row column"]]:
    x, y = anatomy.warp(*view.points(rows, columns))
    masks = {phase: np.zeros((len(outlines), rows, columns), np.uint8) for phase in PHASES}
    for index, outline in enumerate(outlines):
        box = view.box(*outline, anatomy.warp.furthest_mm, view.field_of_view_mm, (rows, columns))
        points = anatomy.heart_points(index, (x[box], y[box]))
        for phase in PHASES:
            masks[phase][index][box] = anatomy.mask(phase, index, points)
    return masks


def _magnetisation(
    anatomy: Anatomy, outlines: OutlinePairs, view: View, style: VendorStyle, rng: Generator, sequence: Sequence
) -> Planes:
    """Signed transverse magnetisation of every slice at ED and then at ES, averaged over its sub-slices."""
    texture = Texture.sample(rng, style, len(outlines), sequence)
    planes = [view.rendered_points(aside) for _, _, aside in SUBSLICES]
    warped = [(anatomy.thorax_warp(x, y), anatomy.warp(x, y)) for x, y in planes]
    total = np.zeros((2, len(outlines), SIZE, SIZE), np.float32)
    for index, outline in enumerate(outlines):
        box = heart_box(anatomy, outline, view)
        for subslice, points in zip(SUBSLICES, warped, strict=True):
            _add_subslice(total[:, index], anatomy, index, box, subslice, points, texture, style.slice_thickness_mm)
    return total.reshape(2 * len(outlines), SIZE, SIZE)


def heart_box(anatomy: Anatomy, outline: tuple[Outline, Outline], view: View) -> Box:
    """The part of the rendered plane outside which a slice with that outline shows nothing of the heart or its fat."""
    margin_mm = anatomy.warp.furthest_mm + anatomy.fat.reach_mm + _WALL_MM
    return view.box(*outline, margin_mm, (FIELD_OF_VIEW_MM, FIELD_OF_VIEW_MM), (SIZE, SIZE))


def _add_subslice(
    total: Float32[np.ndarray, "phase row column"],
    anatomy: Anatomy,
    index: int,
    box: Box,
    subslice: Subslice,
    warped: tuple[PlanePoints, PlanePoints],
    texture: Texture,
    thickness_mm: float,
) -> None:
    """Add both phases of a sub-slice. `warped`: its points as thorax and heart see them; `box`: where the heart is."""
    offset, weight, _ = subslice
    thorax, (x, y) = warped
    z = anatomy.slices_z_mm[index] + offset * thickness_mm
    noise = anatomy.noise[index]
    around, near = anatomy.surroundings(index, thorax, z), noise.window(*box)
    signal = np.float32(weight) * texture.signal(around, noise, index, 0)
    points = anatomy.heart_points(index, (x[box], y[box]))
    for number, phase in enumerate(PHASES):
        tissue = anatomy.tissue(phase, index, points, z, around[box], near)
        beating = texture.signal(tissue, near, index, number, box)
        texture.flow(beating, number, index, points, tissue)
        signal[box] = np.float32(weight) * beating
        total[number] += signal


def _store(
    image: Float32[np.ndarray, "slice row column"], style: VendorStyle
) -> Float32[np.ndarray, "slice row column"]:
    """Scale so that the brightest thousandth reaches full scale, bend by gamma, round as scanners store integers."""
    top = np.float32(np.percentile(image[:, ::3, ::3], 99.9))
    return np.rint((image / top) ** np.float32(style.gamma) * np.float32(style.full_scale))


def _sample_person(rng: Generator) -> Person:
    """Adults of a heart clinic; heights and body-mass indices are those of European adults (NCD-RisC 2016)."""
    pathology = PATHOLOGIES[int(rng.choice(len(PATHOLOGIES), p=[0.3, 0.2, 0.2, 0.15, 0.15]))]
    sex: Sex = "M" if rng.random() < 0.58 else "F"
    height = rng.normal(177 if sex == "M" else 164, 7)
    body_mass_index = np.clip(rng.normal(26, 4.2), 18, 42)
    weight = body_mass_index * (height / 100) ** 2
    return Person(pathology, sex, int(np.clip(rng.normal(52, 16), 18, 85)), round(height), round(weight))
