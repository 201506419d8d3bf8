"""A patient's visit: draw anatomy and settings, render both phases, give them as Cases."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.random import Generator, SeedSequence, default_rng

from cmrfed.datasets.phantom.anatomy import (
    FIELD_OF_VIEW_MM,
    SIZE,
    SUBSLICES,
    Anatomy,
    image_points,
    sample_anatomy,
)
from cmrfed.datasets.phantom.fields import Plane, Warp
from cmrfed.datasets.phantom.heart import PATHOLOGIES, Pathology, Phase, Sex, sample_physiology
from cmrfed.datasets.phantom.physics import Tissue, acquire, coil_sensitivity, tissue_signals
from cmrfed.datasets.phantom.styles import VendorStyle, sample_style
from cmrfed.datasets.phantom.thorax import TissueMap
from cmrfed.shapes import UNKNOWN, vendor_index

_FREQUENCY_BINS = 64
PHASES: tuple[Phase, ...] = ("ED", "ES")


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
    images, masks = render(anatomy, style, rng)
    pixel_mm = FIELD_OF_VIEW_MM / images["ED"].shape[1]
    return Scan(person, style, images, masks, (spacing, pixel_mm, pixel_mm))


def render(
    anatomy: Anatomy, style: VendorStyle, rng: Generator
) -> tuple[dict[Phase, Float32[np.ndarray, "slice row column"]], dict[Phase, UInt8[np.ndarray, "slice row column"]]]:
    """Image both phases of a patient with one scan's settings. Returns images (>= 0) and masks by phase."""
    pixels = 2 * round(FIELD_OF_VIEW_MM / style.pixel_mm / 2)
    x, y = image_points(pixels)
    planes = _magnetisation(anatomy, style, rng)
    slices = range(len(anatomy.slices_z_mm))
    points = [anatomy.heart_points(index, x, y) for index in slices]
    masks = {phase: np.stack([anatomy.mask(phase, index, points[index]) for index in slices]) for phase in PHASES}
    received = _receive(np.concatenate([planes[phase] for phase in PHASES]), style, pixels, rng)
    stored = _store(received, style)
    half = len(slices)
    return {"ED": stored[:half], "ES": stored[half:]}, masks


def _magnetisation(
    anatomy: Anatomy, style: VendorStyle, rng: Generator
) -> dict[Phase, Float32[np.ndarray, "slice row column"]]:
    """Signed transverse magnetisation of every slice, averaged over its sub-slices."""
    texture = _Texture.sample(rng, style)
    total = {phase: np.zeros((len(anatomy.slices_z_mm), SIZE, SIZE), np.float32) for phase in PHASES}
    for offset, weight, aside in SUBSLICES:
        x, y = image_points(SIZE, aside)
        for index, centre in enumerate(anatomy.slices_z_mm):
            z = centre + offset * style.slice_thickness_mm
            around = anatomy.surroundings(index, x, y, z)
            points = anatomy.heart_points(index, x, y)
            for phase in PHASES:
                tissue = anatomy.tissue(phase, index, points, z, around)
                total[phase][index] += weight * texture.signal(tissue, anatomy, index)
    return total


@dataclass(frozen=True)
class _Texture:
    """Signal of each tissue by off-resonance, and how much it varies from point to point."""

    table: Float32[np.ndarray, "tissue bins"]
    bins: UInt8[np.ndarray, "row column"]
    fine: Float32[np.ndarray, " tissue"]
    medium: Float32[np.ndarray, " tissue"]
    coarse: Float32[np.ndarray, " tissue"]

    @classmethod
    def sample(cls, rng: Generator, style: VendorStyle) -> "_Texture":
        """Fat, lung and bowel vary most; blood by its flow; muscle and liver by their grain."""
        frequencies = np.linspace(-150, 150, _FREQUENCY_BINS)
        spread = np.exp(style.contrast_spread * rng.standard_normal((len(Tissue), 3)))
        # both ventricles hold the same blood, but for its oxygen
        spread[Tissue.VENOUS_BLOOD] = spread[Tissue.BLOOD] * np.exp(0.04 * rng.standard_normal(3))
        table = tissue_signals(
            style.field_strength_t, style.tr_ms, style.te_ms, style.flip_deg, style.inflow, frequencies, spread
        )
        fine, medium = np.full(len(Tissue), 0.05), np.full(len(Tissue), 0.05)
        fine[[Tissue.FAT, Tissue.LUNG, Tissue.BOWEL]] = 0.12, 0.35, 0.2
        medium[[Tissue.FAT, Tissue.LUNG, Tissue.BOWEL]] = 0.16, 0.3, 0.3
        medium[[Tissue.BLOOD, Tissue.VENOUS_BLOOD]] = 0.07, 0.10
        coarse = np.full(len(Tissue), 0.03)
        coarse[[Tissue.BLOOD, Tissue.VENOUS_BLOOD, Tissue.LUNG]] = 0.07, 0.09, 0.3
        scale = rng.uniform(0.6, 1.5)
        bins = _field_map(rng, style, frequencies)
        return cls(table, bins, *(np.asarray(scale * a, dtype=np.float32) for a in (fine, medium, coarse)))

    def signal(self, tissue: TissueMap, anatomy: Anatomy, index: int) -> Plane:
        """The tissue map as signal."""
        noise = anatomy.noise[index]
        grain = 1 + self.fine[tissue] * noise.fine + self.medium[tissue] * noise.medium
        grain += self.coarse[tissue] * noise.coarse
        return self.table[tissue, self.bins] * np.maximum(grain, 0)


def _field_map(rng: Generator, style: VendorStyle, frequencies: np.ndarray) -> UInt8[np.ndarray, "row column"]:
    """A smooth map of off-resonance, as the index of the nearest of `frequencies`; it grows with the field."""
    x, y = image_points(SIZE)
    wide = Warp.sample(rng, style.off_resonance_hz * style.field_strength_t / 1.5, (120.0, 400.0))
    field = wide(x, y)[0] - x
    step = frequencies[1] - frequencies[0]
    return np.clip(np.rint((field - frequencies[0]) / step), 0, len(frequencies) - 1).astype(np.uint8)


def _receive(
    planes: Float32[np.ndarray, "slice row column"], style: VendorStyle, pixels: int, rng: Generator
) -> Float32[np.ndarray, "slice pixels pixels"]:
    """Shade by the coils, take through k-space, correct the shading in part."""
    x, y = image_points(SIZE)
    direction = rng.normal(-2.0, 0.3)
    shade = coil_sensitivity(x, y, direction, style.coil_depth_mm, style.spine_share)
    phase = Warp.sample(rng, rng.uniform(0.1, 0.6), (100.0, 400.0))(x, y)[0] - x
    received = (planes * shade * np.exp(1j * phase)).astype(np.complex64)
    acquired = tuple(2 * round(FIELD_OF_VIEW_MM / mm / 2) for mm in style.acquired_mm)
    image = acquire(
        received,
        (acquired[0], acquired[1]),
        pixels,
        noise_sd=_blood_signal(planes) / style.snr,
        rng=rng,
        kind=style.filter,
        strength=style.filter_strength,
        partial_fourier=style.partial_fourier,
    )
    x, y = image_points(pixels)
    shade = coil_sensitivity(x, y, direction, style.coil_depth_mm, style.spine_share)
    return image / shade**style.shading_correction


def _blood_signal(planes: Float32[np.ndarray, "slice row column"]) -> float:
    """The brightest tenth of the image's centre is blood."""
    quarter = planes.shape[1] // 4
    return float(np.percentile(planes[:, quarter:-quarter, quarter:-quarter], 90))


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
