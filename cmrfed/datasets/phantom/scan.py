"""A patient's visit: draw anatomy and settings, render both phases, give them as Cases."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.random import Generator, SeedSequence, default_rng

from cmrfed.datasets.phantom.anatomy import SIZE, SUBSLICES, Anatomy, sample_anatomy
from cmrfed.datasets.phantom.fields import Plane, Planes
from cmrfed.datasets.phantom.heart import PATHOLOGIES, Pathology, Phase, Sex, sample_physiology
from cmrfed.datasets.phantom.physics import sharpen
from cmrfed.datasets.phantom.receiver import View, receive
from cmrfed.datasets.phantom.styles import VendorStyle, sample_style
from cmrfed.datasets.phantom.texture import Texture
from cmrfed.shapes import UNKNOWN, vendor_index

PHASES: tuple[Phase, ...] = ("ED", "ES")

_HEART_MARGIN_MM = 32.0
"""Beyond the ventricles' outline: room for atria and the fat about them."""

_COARSE = 4  # pixels from one point to the next where the heart's extent is looked for


@dataclass(frozen=True)
class Person:
    """Who is scanned: age in years, height in cm, weight in kg."""

    pathology: Pathology
    sex: Sex
    age: int
    height_cm: int
    weight_kg: int

    @property
    def adiposity(self) -> float:
        """0 at a body-mass index of 19 kg/m2, 1 at 38."""
        return float(np.clip((self.weight_kg / (self.height_cm / 100) ** 2 - 19) / 19, 0, 1))


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
    vendor_number = vendor_index(vendor or UNKNOWN)
    rng = default_rng(SeedSequence([seed, vendor_number, index]))
    person = _sample_person(rng)
    style = sample_style(vendor, rng)
    spacing = style.slice_thickness_mm + style.slice_gap_mm
    anatomy = sample_anatomy(rng, sample_physiology(rng, person.pathology, person.sex), person.adiposity, spacing)
    images, masks, pixel_mm = render(anatomy, style, rng)
    return Scan(person, style, images, masks, (spacing, *pixel_mm))


def render(
    anatomy: Anatomy, style: VendorStyle, rng: Generator
) -> tuple[
    dict[Phase, Float32[np.ndarray, "slice row column"]],
    dict[Phase, UInt8[np.ndarray, "slice row column"]],
    tuple[float, float],
]:
    """Image both phases of a patient with one scan's settings.

    Returns images (>= 0) and masks by phase, and the spacing of rows and columns in mm.
    """
    view = View.sample(rng, style)
    rows, columns = view.pixels(style.pixel_mm)
    masks = _masks(anatomy, view, rows, columns)
    planes = _magnetisation(anatomy, view, style, rng)
    received = receive(planes, anatomy.thorax.wall, view, style, rng)
    ed, es = np.split(_store(sharpen(received, style.sharpening, sigma_px=1.2), style), 2)
    height, width = view.field_of_view_mm
    return {"ED": ed, "ES": es}, masks, (height / rows, width / columns)


def _masks(anatomy: Anatomy, view: View, rows: int, columns: int) -> dict[Phase, UInt8[np.ndarray, "slice row column"]]:
    x, y = view.points(rows, columns)
    box = _heart_box(anatomy, x, y)
    slices = range(len(anatomy.slices_z_mm))
    masks = {phase: np.zeros((len(slices), rows, columns), np.uint8) for phase in PHASES}
    for index in slices:
        points = anatomy.heart_points(index, x[box], y[box])
        for phase in PHASES:
            masks[phase][index][box] = anatomy.mask(phase, index, points)
    return masks


def _heart_box(anatomy: Anatomy, x: Plane, y: Plane) -> tuple[slice, slice]:
    """Rows and columns outside which no slice shows anything of the heart; not to paint there saves time."""
    diastole = anatomy.heart.phases["ED"]
    points = anatomy.heart_points(0, x[::_COARSE, ::_COARSE], y[::_COARSE, ::_COARSE])
    near = np.zeros(points.s.shape, dtype=bool)
    for level in (0.05, 0.25, 0.5):
        _, to_epi, to_rv = diastole.section(level * diastole.lv_length_mm).distances(points)
        near |= np.minimum(to_epi, to_rv) < _HEART_MARGIN_MM
    rows, columns = (_COARSE * np.flatnonzero(near.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + _COARSE), slice(int(columns[0]), int(columns[-1]) + _COARSE)


def _magnetisation(anatomy: Anatomy, view: View, style: VendorStyle, rng: Generator) -> Planes:
    """Signed transverse magnetisation of every slice at ED and then at ES, averaged over its sub-slices."""
    slices = len(anatomy.slices_z_mm)
    texture = Texture.sample(rng, style, slices)
    box = _heart_box(anatomy, *view.rendered_points((0.0, 0.0)))
    heart = replace(anatomy, noise=tuple(noise.window(*box) for noise in anatomy.noise))
    total = np.zeros((2, slices, SIZE, SIZE), np.float32)
    for offset, weight, aside in SUBSLICES:
        x, y = view.rendered_points(aside)
        for index, centre in enumerate(anatomy.slices_z_mm):
            z = centre + offset * style.slice_thickness_mm
            around = anatomy.surroundings(index, x, y, z)
            signal = np.float32(weight) * texture.signal(around, anatomy, index, 0)
            points = heart.heart_points(index, x[box], y[box])
            for number, phase in enumerate(PHASES):
                tissue = heart.tissue(phase, index, points, z, around[box])
                beating = texture.signal(tissue, heart, index, number, box)
                beating *= np.float32(weight) * texture.flow(number, index, points.s, points.t, tissue)
                signal[box] = beating
                total[number, index] += signal
    return total.reshape(2 * slices, SIZE, SIZE)


def _store(
    image: Float32[np.ndarray, "slice row column"], style: VendorStyle
) -> Float32[np.ndarray, "slice row column"]:
    """Scale so that the brightest thousandth reaches full scale, bend by gamma, round as scanners store integers."""
    top = np.percentile(image, 99.9)
    return np.rint((image / top) ** np.float32(style.gamma) * np.float32(style.full_scale)).astype(np.float32)


def _sample_person(rng: Generator) -> Person:
    """Adults of a heart clinic; heights and body-mass indices are those of European adults (NCD-RisC 2016)."""
    pathology = PATHOLOGIES[int(rng.choice(len(PATHOLOGIES), p=[0.3, 0.2, 0.2, 0.15, 0.15]))]
    sex: Sex = "M" if rng.random() < 0.58 else "F"
    height = rng.normal(177 if sex == "M" else 164, 7)
    body_mass_index = np.clip(rng.normal(26, 4.2), 18, 42)
    weight = body_mass_index * (height / 100) ** 2
    return Person(pathology, sex, int(np.clip(rng.normal(52, 16), 18, 85)), round(height), round(weight))
